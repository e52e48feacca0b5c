import gzip
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import urlencode

import clickhouse_connect
import httpx2
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipelines.store import connect
from schemas.arrow import to_ipc
from tests.store_process import StoreProcess, running_store, wait_until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store") / "data") as process:
        httpx2.post(process.url, content="CREATE DATABASE spanmill").raise_for_status()
        yield process


@pytest.fixture(scope="module")
def client(store: StoreProcess) -> Iterator[Client]:
    with connect(store.settings) as connected:
        yield connected


@pytest.fixture
def table(client: Client, request: pytest.FixtureRequest) -> str:
    name = "t_" + str(abs(hash(request.node.nodeid)))
    client.command(
        f"CREATE TABLE {name} (a UInt64, b String DEFAULT 'none', c LowCardinality(String), d DateTime64(9, 'UTC'),"
        " m Map(String, String), n Nullable(Int64)) ENGINE = MergeTree ORDER BY a"
    )
    return name


def _post(
    store: StoreProcess, body: str | bytes, headers: dict[str, str] | None = None, **params: str
) -> httpx2.Response:
    return httpx2.post(store.url, params={"database": "spanmill", **params}, content=body, headers=headers)


# ---- clickhouse-connect


def test_rows_of_every_type_come_back_as_they_were_inserted(client: Client, table: str):
    row = (1, "x", "y", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), {"k": "v"}, None)
    summary = client.insert(table, [row], column_names=list("abcdmn"))
    assert summary.written_rows == 1
    (found,) = client.query(f"SELECT * FROM {table}", tz_mode="aware").result_rows
    assert found == row


def test_columns_that_an_insert_leaves_out_get_their_defaults(client: Client, table: str):
    client.insert(table, [[2, "low"]], column_names=["a", "c"])
    client.insert_arrow(table, pa.table({"c": ["arrow"], "a": pa.array([3], pa.uint64())}))
    assert client.query(f"SELECT a, b, c FROM {table} ORDER BY a").result_rows == [
        (2, "none", "low"),
        (3, "none", "arrow"),
    ]


def test_an_arrow_result_is_a_table(client: Client):
    found = client.query_arrow("SELECT number AS n, toString(number) AS s FROM numbers(3)")
    assert found.to_pydict() == {"n": [0, 1, 2], "s": ["0", "1", "2"]}


@pytest.mark.parametrize("text", ["it's", "a\\b", "tab\tnew\nline", "é😀", "{x:String}"])
def test_query_parameters_arrive_as_they_are(client: Client, text: str):
    found = client.query("SELECT {x:String}, {l:Array(String)}", parameters={"x": text, "l": [text]}).result_rows
    assert found == [(text, [text])]


def test_settings_hold_for_their_query_only(client: Client):
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 1}) == 1
    with pytest.raises(DatabaseError, match="READONLY"):
        client.command("CREATE TABLE nope (a Int8) ENGINE = Memory", settings={"readonly": 1})
    client.command("SELECT 1")


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELECT nothing", 47), ("SELECT * FROM nowhere", 60), ("SELEC", 62), ("SELECT throwIf(1)", 395)],
)
def test_an_error_has_the_engines_code(client: Client, sql: str, code: int):
    with pytest.raises(DatabaseError, match=f"code: {code}") as _:
        client.query(sql)


def test_an_error_in_the_middle_of_an_answer_is_an_error(client: Client):
    with (
        pytest.raises(DatabaseError, match="FUNCTION_THROW_IF"),
        client.query_row_block_stream("SELECT number, throwIf(number = 3000000) FROM numbers(4000000)") as blocks,
    ):
        for _ in blocks:
            pass


def test_a_large_answer_is_streamed_whole(client: Client):
    with client.query_column_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        assert sum(len(block[0]) for block in blocks) == 1_000_000


def test_a_session_keeps_settings_and_temporary_tables(store: StoreProcess):
    with clickhouse_connect.get_client(host="127.0.0.1", port=store.port, session_id="s1") as session:
        session.command("SET max_threads = 1")
        session.command("CREATE TEMPORARY TABLE mine (a UInt8)")
        session.insert("mine", [[7]], column_names=["a"])
        assert session.command("SELECT getSetting('max_threads')") == 1
        assert session.command("SELECT max(a) FROM mine", settings={"max_threads": 2}) == 7
        assert session.command("SELECT getSetting('max_threads')") == 1


# ---- plain HTTP


@pytest.mark.parametrize(
    ("body", "format_name"),
    [
        (b'{"a": 1}\n{"a": 2}', "JSONEachRow"),
        (b"1\n2\n", "TSV"),
        (b"(1),(2)", "Values"),
        (b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0", "RowBinary"),
        (to_ipc(pa.table({"a": pa.array([1, 2], pa.int64())})), "ArrowStream"),
    ],
)
@pytest.mark.parametrize("in_url", [True, False])
def test_rows_are_taken_in_any_format(store: StoreProcess, table: str, body: bytes, format_name: str, in_url: bool):
    statement = f"INSERT INTO {table} (a) FORMAT {format_name}"
    reply = _post(store, body, query=statement) if in_url else _post(store, statement.encode() + b"\n" + body)
    assert reply.status_code == 200, reply.text
    assert '"written_rows":"2"' in reply.headers["x-clickhouse-summary"]
    assert _post(store, f"SELECT groupArray(a) FROM (SELECT a FROM {table} ORDER BY a)").text == "[1,2]\n"


def test_a_chunked_and_compressed_body_is_taken(store: StoreProcess, table: str):
    rows = b"".join(b"%d\n" % n for n in range(200_000))
    packed = gzip.compress(rows)
    pieces = (packed[at : at + 10_000] for at in range(0, len(packed), 10_000))
    reply = httpx2.post(
        store.url,
        params={"query": f"INSERT INTO spanmill.{table} (a) FORMAT TSV"},
        content=pieces,
        headers={"Content-Encoding": "gzip"},
    )
    assert reply.status_code == 200, reply.text
    assert _post(store, f"SELECT count(), sum(a) FROM {table}").text == f"200000\t{sum(range(200_000))}\n"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
def test_an_answer_is_compressed_when_the_client_asks_for_it(store: StoreProcess, encoding: str):
    reply = _post(
        store,
        "SELECT number FROM numbers(100000) FORMAT CSV",
        headers={"Accept-Encoding": encoding},
        enable_http_compression="1",
    )
    if encoding == "gzip":
        assert reply.headers["content-encoding"] == "gzip"
        assert reply.text.splitlines()[-1] == "99999"
    else:
        assert reply.headers["content-encoding"] == encoding


def test_a_statement_of_an_insert_may_have_settings_and_comments(store: StoreProcess, table: str):
    statement = f"INSERT INTO {table} (a) SETTINGS max_threads = 1 -- why\n VALUES (1), (1 + 1)"
    assert _post(store, statement).status_code == 200
    assert _post(store, f"SELECT sum(a) FROM {table}").text == "3\n"


def test_rows_that_the_table_does_not_take_are_not_acknowledged(store: StoreProcess, client: Client, table: str):
    client.command(f"ALTER TABLE {table} MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
    client.command(f"SYSTEM STOP MERGES {table}")
    replies = [_post(store, "1\n", query=f"INSERT INTO {table} (a) FORMAT TSV") for _ in range(3)]
    assert [reply.headers.get("x-clickhouse-exception-code") for reply in replies] == [None, "252", "252"]
    assert client.command(f"SELECT count() FROM {table}") == 1


def test_one_insert_is_one_part(store: StoreProcess, client: Client, table: str):
    column = pa.chunked_array([pa.array([n], pa.uint64()) for n in range(50)])
    reply = _post(store, to_ipc(pa.table({"a": column})), query=f"INSERT INTO {table} FORMAT ArrowStream")
    assert reply.status_code == 200
    sql = f"SELECT count() FROM system.parts WHERE table = '{table}' AND rows = 50"
    assert client.command(sql) == 1


def test_a_cut_request_inserts_nothing(store: StoreProcess, client: Client, table: str):
    connection = http.client.HTTPConnection("127.0.0.1", store.port)
    query = urlencode({"query": f"INSERT INTO spanmill.{table} (a) FORMAT TSV"})
    connection.putrequest("POST", f"/?{query}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"1\n2\n3\n")
    connection.close()
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_rows_that_cannot_be_parsed_are_refused_with_400(store: StoreProcess, table: str):
    reply = _post(store, b'{"a": 1}\n{"a": "many"}', query=f"INSERT INTO {table} FORMAT JSONEachRow")
    assert (reply.status_code, reply.headers["x-clickhouse-exception-code"]) == (400, "27")
    assert _post(store, f"SELECT count() FROM {table}").text == "0\n"


@pytest.mark.parametrize(
    ("body", "params", "status", "code"),
    [
        ("SELECT 1; SELECT 2", {}, 400, "62"),
        ("SELECT 1", {"database": "nowhere"}, 404, "81"),
        ("SELECT 1", {"no_such_setting": "1"}, 404, "115"),
        ("SELECT sleep(3)", {"max_execution_time": "0.1"}, 408, "159"),
        ("SELECT groupArray(number) FROM numbers(1000000000)", {}, 500, "241"),
        ("SELECT repeat('x', 1000) FROM numbers(1000000) FORMAT JSON", {}, 500, "241"),
        (b"SELECT '\xff'", {}, 400, "36"),
        ("SELECT 1 INTO OUTFILE '/tmp/out'", {}, 501, "48"),
        ("INSERT INTO t FROM INFILE '/etc/hostname' FORMAT LineAsString", {}, 501, "48"),
        ("SELECT 1", {"session_id": "unknown", "session_check": "1"}, 500, "372"),
    ],
)
def test_what_cannot_be_done_is_answered_with_status_and_code(store, body, params, status, code):
    reply = _post(store, body, **params)
    assert (reply.status_code, reply.headers["x-clickhouse-exception-code"]) == (status, code), reply.text


def test_a_get_reads_and_does_not_write(store: StoreProcess):
    assert httpx2.get(store.url, params={"query": "SELECT 1"}).text == "1\n"
    reply = httpx2.get(store.url, params={"query": "CREATE DATABASE got"})
    assert reply.headers["x-clickhouse-exception-code"] == "164"
    reply = httpx2.get(store.url, params={"query": "INSERT INTO t VALUES (1)"})
    assert reply.headers["x-clickhouse-exception-code"] == "164"


def test_the_paths_of_the_real_server_answer_and_others_do_not(store: StoreProcess):
    assert httpx2.get(f"{store.url}/ping").text == "Ok.\n"
    assert httpx2.get(f"{store.url}/replicas_status").text == "Ok.\n"
    assert httpx2.get(store.url).text == "Ok.\n"
    assert httpx2.get(f"{store.url}/secret").status_code == 404


@pytest.mark.parametrize("headers", [{"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_web_page_is_refused(store: StoreProcess, headers: dict[str, str]):
    assert _post(store, "SELECT 1", headers=headers).status_code == 403


def test_many_clients_are_served_at_once(store: StoreProcess, client: Client, table: str):
    def work(n: int) -> int:
        rows = "".join(f"{n * 1000 + i}\n" for i in range(100))
        assert _post(store, rows, query=f"INSERT INTO {table} (a) FORMAT TSV").status_code == 200
        return int(_post(store, f"SELECT count() FROM {table} WHERE intDiv(a, 1000) = {n}").text)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(40))) == {100}
    assert client.command(f"SELECT count() FROM {table}") == 4000


def test_the_statement_of_a_client_that_went_away_is_killed(store: StoreProcess, client: Client):
    slow = "SELECT sum(sleepEachRow(1)) FROM numbers(100) SETTINGS max_block_size = 1"

    def running() -> bool:
        return client.command("SELECT countIf(query LIKE 'SELECT sum(sleepEachRow%') FROM system.processes") != 0

    connection = http.client.HTTPConnection("127.0.0.1", store.port)
    connection.request("POST", "/", slow + " FORMAT JSON")
    wait_until(running, "the statement runs")
    connection.close()
    wait_until(lambda: not running(), "the statement is gone")
