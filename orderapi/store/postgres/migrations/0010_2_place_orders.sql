-- works-with: 10
-- How the service places orders on PostgreSQL: one call for all orders that wait.

-- Places a batch of orders exactly once, in one round trip together with its COMMIT. It has the
-- effects of `place_order` in orderapi/orders.py for each of them, in the order of the arrays.
--
-- `wait_ms` limits the wait for the other writers. The document of an order is its head, its
-- order_id and its tail. `new_id_ends` are the last two groups of the UUIDs that the orders get: the
-- caller chose them at random, so that it knows its own orders again after an unknown outcome.
--
-- Each order gives one row. `made` tells whether it was made now. If not, the row has the answer that
-- was saved under its key. `last_sequence` is the number of the last event of all.
CREATE FUNCTION place_orders_v1(
    wait_ms        integer,
    new_clients    text[],
    new_keys       text[],
    new_hashes     text[],
    new_customers  text[],
    new_items      text[],
    new_quantities integer[],
    new_heads      text[],
    new_tails      text[],
    new_id_ends    text[],
    new_traces     text[]
) RETURNS TABLE (
    place         integer,
    made          boolean,
    the_order_id  text,
    the_hash      text,
    the_status    integer,
    the_body      text,
    last_sequence bigint,
    lock_wait_s   double precision
)
LANGUAGE plpgsql VOLATILE
-- The greatest id is found through an index, also while statistics say that the tables are empty.
SET enable_seqscan = off
-- It compiles plans whose cost is high, and the line above gives some plans a high cost.
SET jit = off
-- A plan for each call would take longer than the statements themselves.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    began_at    timestamptz := clock_timestamp();
    now_at      timestamptz;
    now_text    text;
    last_order  text;
    first_slot  bigint;
    last_number bigint;
    wait_s      double precision;
    made_places integer[];
    made_ids    text[];
BEGIN
    -- In another isolation level, the statements after the lock would not see the last batch.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'place_orders_v1 needs the isolation level READ COMMITTED';
    END IF;
    -- All of these last until the COMMIT. A warning of the COMMIT must reach the client.
    PERFORM set_config('synchronous_commit', 'on', true),
        set_config('client_min_messages', 'notice', true),
        set_config('lock_timeout', greatest(wait_ms, 1)::text, true);

    PERFORM 1 FROM write_lock WHERE lock_id = 1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the row of the table write_lock is missing';
    END IF;
    now_at := date_trunc('milliseconds', clock_timestamp());
    wait_s := extract(epoch FROM clock_timestamp() - began_at);

    -- Each of these statements sees all that was committed before the lock was taken.
    SELECT max(events.sequence) INTO last_number FROM events;
    SELECT max(orders.order_id) INTO last_order FROM orders;
    last_number := coalesce(last_number, 0);
    now_text := to_char(now_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
    -- UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, then 12 bits that rank the ids of one
    -- millisecond. An order has an even rank and its event the next one, so a millisecond has 2048
    -- slots. Ids grow also when the clock was set back, and when the slots are used up.
    first_slot := floor(extract(epoch FROM now_at) * 1000)::bigint * 2048;
    IF last_order IS NOT NULL THEN
        first_slot := greatest(first_slot, 1
            + ('x' || substr(last_order, 1, 8) || substr(last_order, 10, 4))::bit(48)::bigint * 2048
            + ('x' || substr(last_order, 16, 3))::bit(12)::integer / 2);
    END IF;

    WITH given AS MATERIALIZED (
        SELECT g.*,
            lpad(to_hex((first_slot + g.ordinal - 1) / 2048), 12, '0') AS ms,
            ((first_slot + g.ordinal - 1) % 2048)::integer * 2 AS rank
        FROM unnest(
            new_clients, new_keys, new_hashes, new_customers, new_items, new_quantities,
            new_heads, new_tails, new_id_ends, new_traces
        ) WITH ORDINALITY AS g(
            client_id, idempotency_key, request_hash, customer_id, item_id, quantity,
            head, tail, id_end, traceparent, ordinal
        )
    ), named AS MATERIALIZED (
        SELECT given.*,
            substr(ms, 1, 8) || '-' || substr(ms, 9) || '-7' || lpad(to_hex(rank), 3, '0')
                || '-' || id_end AS order_id,
            substr(ms, 1, 8) || '-' || substr(ms, 9) || '-7' || lpad(to_hex(rank + 1), 3, '0')
                || '-' || id_end AS event_id
        FROM given
    ), claimed AS (
        INSERT INTO idempotency_keys AS k (
            client_id, idempotency_key, request_hash, status_code, response_body, order_id,
            created_at
        )
        SELECT client_id, idempotency_key, request_hash, 201,
            head || named.order_id || tail || E'\n', named.order_id, now_text
        FROM named ORDER BY ordinal
        ON CONFLICT (client_id, idempotency_key) DO NOTHING
        RETURNING k.order_id
    ), numbered AS MATERIALIZED (
        SELECT named.*, last_number + row_number() OVER (ORDER BY ordinal) AS sequence
        FROM named JOIN claimed ON claimed.order_id = named.order_id
    ), ordered AS (
        INSERT INTO orders (
            order_id, client_id, customer_id, item_id, quantity, status, created_at
        )
        SELECT order_id, client_id, customer_id, item_id, quantity, 'created', now_text
        FROM numbered ORDER BY sequence
    ), entered AS (
        INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)
        SELECT order_id, customer_id, item_id, quantity, 'order_created', now_text
        FROM numbered ORDER BY sequence
    ), announced AS (
        INSERT INTO events (
            sequence, event_id, type, order_id, client_id, payload, created_at, traceparent
        )
        SELECT sequence, event_id, 'order.created', order_id, client_id,
            head || order_id || tail, now_text, traceparent
        FROM numbered ORDER BY sequence
    )
    SELECT array_agg(ordinal::integer ORDER BY sequence), array_agg(order_id ORDER BY sequence)
    INTO made_places, made_ids FROM numbered;

    made_places := coalesce(made_places, '{}');
    last_number := last_number + cardinality(made_places);
    RETURN QUERY SELECT m.place, true, m.order_id, NULL::text, NULL::integer, NULL::text,
        last_number, wait_s
    FROM unnest(made_places, made_ids) AS m(place, order_id);

    -- The keys that were claimed before, by another batch or by an order of this one.
    IF cardinality(made_places) < cardinality(new_keys) THEN
        RETURN QUERY SELECT g.ordinal::integer, false, k.order_id, k.request_hash, k.status_code,
            k.response_body, last_number, wait_s
        FROM unnest(new_clients, new_keys) WITH ORDINALITY AS g(client_id, idempotency_key, ordinal)
        CROSS JOIN LATERAL (
            SELECT * FROM idempotency_keys
            WHERE idempotency_keys.client_id = g.client_id
            AND idempotency_keys.idempotency_key = g.idempotency_key
            LIMIT 1
        ) AS k
        WHERE g.ordinal <> ALL (made_places);
    END IF;
END
$$;

-- A table or a function of the same name in another schema must not be used instead.
DO $$
DECLARE
    routine text;
BEGIN
    FOREACH routine IN ARRAY ARRAY['place_orders_v1', 'count_tokens_version'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp',
            routine, current_schema());
    END LOOP;
END
$$;
