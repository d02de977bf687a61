-- As in SQLite: the period that a run was for, its number among those tried for it, and what it came to.
ALTER TABLE job_runs ADD COLUMN period timestamptz;
ALTER TABLE job_runs ADD COLUMN attempt bigint NOT NULL DEFAULT 1;
ALTER TABLE job_runs ADD COLUMN counts text;
ALTER TABLE job_runs ADD COLUMN error text;
CREATE UNIQUE INDEX job_runs_by_period ON job_runs (job, period, attempt);
CREATE INDEX job_runs_by_job ON job_runs (job, id);
