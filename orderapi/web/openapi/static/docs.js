"use strict";

SwaggerUIBundle({
  dom_id: "#document",
  url: "/openapi.json",
  // Nothing is sent to the validator of Swagger, which is on another host.
  validatorUrl: null,
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
