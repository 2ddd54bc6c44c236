-- works-with: 1
-- The orders and the events of one client are found among those of all other clients.

-- Where requests need no token, all orders are of the client 'public'. A list of this client needs
-- no index. Therefore its orders have no entry in these two indexes, and cost nothing here.
CREATE INDEX orders_by_client ON orders (client_id, order_id) WHERE client_id <> 'public';

-- SQLite adds the rowid, which is the sequence, to each entry.
CREATE INDEX events_by_client ON events (client_id) WHERE client_id <> 'public';
