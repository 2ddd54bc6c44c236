-- works-with: 1
-- Since when the relay's next event is not accepted, why, and after how many attempts.

ALTER TABLE relay_position ADD COLUMN blocked_since TEXT;
ALTER TABLE relay_position ADD COLUMN blocked_reason TEXT;
ALTER TABLE relay_position ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- A trigger, because a relay of an older release moves the position, too.
CREATE TRIGGER relay_is_no_longer_blocked AFTER UPDATE OF sequence ON relay_position
BEGIN
    UPDATE relay_position SET blocked_since = NULL, blocked_reason = NULL, failures = 0;
END;
