"""What a user would run instead: the same rows by DuckDB, from NDJSON or flat Parquet, as two CSV files.

    duckdb_rollup.py plain|expert ndjson|parquet INPUT_DIR OUTPUT_DIR
    duckdb_rollup.py flatten INPUT_DIR OUTPUT_DIR       NDJSON as flat Parquet, one file a file

`plain` is how one would write it down; `expert` carries little codes through the removal of copies. The rows are those of
`usage-rollup export --format csv`, to the byte. Nothing is kept: no event log, no ledger, no history. Conflicts are not looked for.
"""

import glob
import os
import sys

import duckdb

FEATURES = ["SecureMessagingGateway", "SecureMessagingPlus", "DataLeakPrevention", "SecureLargeFiles", "SecureForms"]
COLUMNS = """{id:'VARCHAR', source:'VARCHAR', type:'VARCHAR', subject:'VARCHAR', time:'TIMESTAMP',
    data:'STRUCT(userGuid VARCHAR, attachments STRUCT(sizeBytes BIGINT)[], sizeBytes BIGINT, feature VARCHAR, quantity BIGINT,
                 groupType VARCHAR, source VARCHAR, id VARCHAR, "time" TIMESTAMP)'}"""
FLAT = """SELECT source, id, type, subject AS service, time AS t, data.userGuid AS usr, len(data.attachments) AS att_n,
    list_sum([a.sizeBytes FOR a IN data.attachments])::BIGINT AS att_bytes, data.sizeBytes AS purged, data.feature AS feature,
    data.quantity AS quantity, data.groupType AS grp, data.source AS void_source, data.id AS void_id, data.time AS void_time"""


def from_ndjson(pattern):
    return f"{FLAT} FROM read_json('{pattern}', format='newline_delimited', columns={COLUMNS})"


def activity(is_expert):
    """A service's day: what it sent, used and stored."""
    if is_expert:
        feature = lambda index: f"coalesce(sum(n) FILTER (code = {2 + index}), 0)"
        return f"""SELECT service, day, count(*) FILTER (code = 0) AS messages,
            coalesce(sum(n) FILTER (code = 0), 0) AS attachments,
            coalesce(sum(CASE code WHEN 0 THEN v WHEN 1 THEN -v END), 0) AS stored,
            {', '.join(f'{feature(index)} AS f{index}' for index in range(5))} FROM ev GROUP BY service, day"""
    feature = lambda name: f"coalesce(sum(coalesce(quantity, 1)) FILTER (feature = '{name}'), 0)"
    return f"""SELECT service, day, count(*) FILTER (type = 'message.sent') AS messages,
        coalesce(sum(att_n) FILTER (type = 'message.sent'), 0) AS attachments,
        coalesce(sum(att_bytes) FILTER (type = 'message.sent'), 0)
            - coalesce(sum(purged) FILTER (type = 'attachment.purged'), 0) AS stored,
        {', '.join(f'{feature(name)} AS f{index}' for index, name in enumerate(FEATURES))} FROM ev GROUP BY service, day"""


def at_day_end(is_expert):
    """What each user's events of a day leave behind."""
    if is_expert:
        return """SELECT service, usr, day, bool_or(code IN (9, 13, 14)) AS reg,
            arg_max(code IN (7, 13), (t, id)) FILTER (code IN (7, 8, 13, 14)) AS pro,
            arg_max(code = 10, (t, id)) FILTER (code IN (10, 11)) AS dis FROM ev WHERE usr IS NOT NULL GROUP BY ALL"""
    return """SELECT service, usr, day, bool_or(type = 'user.registered') AS reg,
        arg_max(grp = 'Professional', (t, id)) FILTER (grp IS NOT NULL) AS pro,
        arg_max(type = 'user.disabled', (t, id)) FILTER (type IN ('user.disabled', 'user.enabled')) AS dis
        FROM ev WHERE type LIKE 'user.%' AND type <> 'user.loggedIn' GROUP BY ALL"""


CODES = f"""SELECT source, id, service, t,
    (CASE type WHEN 'message.sent' THEN 0 WHEN 'attachment.purged' THEN 1
        WHEN 'feature.used' THEN CASE feature {' '.join(f"WHEN '{name}' THEN {2 + index}" for index, name in enumerate(FEATURES))} END
        WHEN 'user.invited' THEN CASE grp WHEN 'Professional' THEN 7 ELSE 8 END
        WHEN 'user.groupChanged' THEN CASE grp WHEN 'Professional' THEN 7 ELSE 8 END
        WHEN 'user.registered' THEN CASE grp WHEN 'Professional' THEN 13 WHEN 'Guest' THEN 14 ELSE 9 END
        WHEN 'user.disabled' THEN 10 WHEN 'user.enabled' THEN 11 WHEN 'service.updated' THEN 15 ELSE 12 END)::TINYINT AS code,
    coalesce(CASE WHEN feature IS NOT NULL THEN coalesce(quantity, 1) ELSE att_n END, 0)::INTEGER AS n,
    coalesce(att_bytes, purged, 0)::BIGINT AS v,
    CASE WHEN starts_with(type, 'user.') AND type <> 'user.loggedIn' THEN usr END AS usr"""

CHANGES = """WITH filled AS (
    SELECT service, usr, day, bool_or(reg) OVER w AS reg, last_value(pro IGNORE NULLS) OVER w AS pro,
        last_value(dis IGNORE NULLS) OVER w AS dis FROM at_day_end
    WINDOW w AS (PARTITION BY service, usr ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
classed AS (SELECT service, usr, day, CASE WHEN dis THEN 3 WHEN NOT reg THEN 2 WHEN pro THEN 0 ELSE 1 END AS c FROM filled),
moved AS (SELECT service, day, c, coalesce(lag(c) OVER (PARTITION BY service, usr ORDER BY day), -1) AS p FROM classed)
SELECT service, day, """ + ", ".join(
    f"sum((c = {place})::INT - (p = {place})::INT) AS {name}" for place, name in enumerate(["pro", "guest", "unreg", "dis"])
) + " FROM moved GROUP BY service, day"

# The 13 numbers in the order of the export, and how a day's come about.
DAILY = {
    "TotalUserCount": "pro + guest + dis + unreg", "ProUserCount": "pro", "GuestUserCount": "guest",
    "DisabledUserCount": "dis", "UnregisteredUserCount": "unreg",
    **{f"FeatureUsage{name}": f"f{index}" for index, name in enumerate(FEATURES)},
    "TotalMessageCount": "messages", "TotalAttachmentCount": "attachments", "AttachmentStorageUsage": "stored",
}
GAUGES = ["TotalUserCount", "ProUserCount", "GuestUserCount", "DisabledUserCount", "UnregisteredUserCount", "AttachmentStorageUsage"]
COUNTERS = ["messages", "attachments", "f0", "f1", "f2", "f3", "f4"]
HELD = ["stored", "pro", "guest", "unreg", "dis"]


def roll_up(variant, kind, source, out):
    con = duckdb.connect()
    con.execute("SET threads=2; SET preserve_insertion_order=false; SET TimeZone='UTC'")
    con.execute(f"SET temp_directory='{out}/duckdb_tmp'")
    raw = from_ndjson(f"{source}/*.ndjson") if kind == "ndjson" else f"SELECT * FROM read_parquet('{source}/*.parquet')"
    if variant == "expert":
        raw = f"{CODES}, void_source, void_id, void_time FROM ({raw})"
        is_void, counts = "void_id IS NOT NULL", "code <> 15"
        distinct = f"SELECT DISTINCT * FROM ({raw})"
    else:
        is_void, counts = "type = 'event.voided'", "type <> 'service.updated'"
        distinct = f"SELECT DISTINCT ON (service, source, id) * FROM ({raw})"
    con.execute(f"CREATE TEMP TABLE stored AS {distinct}")
    con.execute(f"""CREATE TEMP TABLE ev AS SELECT * EXCLUDE (source, void_source, void_id, void_time), t::DATE AS day FROM stored e
        WHERE NOT ({is_void}) AND {counts} AND NOT EXISTS (SELECT 1 FROM stored v WHERE v.void_id IS NOT NULL
            AND v.service = e.service AND v.void_source = e.source AND v.void_id = e.id AND v.void_time = e.t)""")
    con.execute("DROP TABLE stored")
    con.execute(f"CREATE TEMP TABLE activity AS {activity(variant == 'expert')}")
    con.execute(f"CREATE TEMP TABLE at_day_end AS {at_day_end(variant == 'expert')}")
    con.execute(f"CREATE TEMP TABLE user_change AS {CHANGES}")
    con.execute(f"""CREATE TEMP TABLE day_row AS
        WITH grid AS (SELECT service, unnest(generate_series(min(day), (SELECT max(day) FROM activity), INTERVAL 1 DAY))::DATE AS day
            FROM activity GROUP BY service),
        summed AS (SELECT service, day, {', '.join(f'coalesce({name}, 0)::BIGINT AS {name}' for name in COUNTERS)},
            {', '.join(f'sum(coalesce({name}, 0)) OVER w::BIGINT AS {name}' for name in HELD)}
            FROM grid LEFT JOIN activity USING (service, day) LEFT JOIN user_change USING (service, day)
            WINDOW w AS (PARTITION BY service ORDER BY day))
        SELECT replace(service, '-', '') AS ServiceGuid, day,
            {', '.join(f'{"greatest(stored, 0)" if of == "stored" else of} AS {name}' for name, of in DAILY.items())} FROM summed""")
    names = ", ".join(DAILY)
    con.execute(f"""COPY (SELECT ServiceGuid, 'Daily' AS PeriodType, day AS Period, {names} FROM day_row
        ORDER BY ServiceGuid, day) TO '{out}/daily.csv' (HEADER)""")
    of_month = [f"arg_max({name}, day) AS {name}" if name in GAUGES else f"sum({name})::BIGINT AS {name}" for name in DAILY]
    con.execute(f"""COPY (SELECT ServiceGuid, 'Monthly' AS PeriodType, date_trunc('month', day)::DATE AS Period, {', '.join(of_month)}
        FROM day_row GROUP BY ALL ORDER BY ServiceGuid, Period) TO '{out}/monthly.csv' (HEADER)""")


def flatten(source, out):
    con = duckdb.connect()
    con.execute("SET threads=2; SET TimeZone='UTC'")
    for path in sorted(glob.glob(f"{source}/*.ndjson")):
        name = os.path.basename(path).removesuffix(".ndjson")
        con.execute(f"COPY ({from_ndjson(path)}) TO '{out}/{name}.parquet' (FORMAT parquet)")


command, *rest = sys.argv[1:]
os.makedirs(rest[-1], exist_ok=True)
if command == "flatten":
    flatten(*rest)
else:
    roll_up(command, *rest)
