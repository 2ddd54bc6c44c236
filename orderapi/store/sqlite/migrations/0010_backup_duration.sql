-- works-with: 1
-- How long the last backup took, in milliseconds. It is NULL if an older release made that backup.
ALTER TABLE last_backup ADD COLUMN took_ms INTEGER;
