"""What valid requests and answers are (marshmallow)."""
