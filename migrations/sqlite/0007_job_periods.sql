-- The period of its schedule that a run was for, if any, and its number among the runs that were tried for it: claimed by that key.
-- What the run came to, as a JSON object of numbers, or why it failed.
ALTER TABLE job_runs ADD COLUMN period TEXT;
ALTER TABLE job_runs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE job_runs ADD COLUMN counts TEXT;
ALTER TABLE job_runs ADD COLUMN error TEXT;
CREATE UNIQUE INDEX job_runs_by_period ON job_runs (job, period, attempt);
CREATE INDEX job_runs_by_job ON job_runs (job, id);
