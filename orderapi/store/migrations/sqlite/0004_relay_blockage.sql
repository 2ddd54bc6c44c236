-- works-with: 1
-- Since when the relay's next event is not taken, what for, and after how many attempts.

ALTER TABLE relay_position ADD COLUMN blocked_since TEXT;
ALTER TABLE relay_position ADD COLUMN blocked_by TEXT;
ALTER TABLE relay_position ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
