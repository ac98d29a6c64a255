"""The engine of an older ClickHouse behind an HTTP interface like that of its server, for test/servers/old-clickhouse.ts.

    python3 old_clickhouse.py FOLDER PORT    FOLDER: for the data. Ends when its standard input does.

chdb of PyPI answers one query at a time, and has no parameters: they are set before the query.
"""
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import MagicMock
from urllib.parse import parse_qsl, urlsplit

# chdb wants it for answers as tables of Arrow, which nobody asks for here.
sys.modules["pyarrow"] = MagicMock()
from chdb import session  # noqa: E402

NO_SETTING = {"query", "database", "wait_end_of_query"}
one_at_a_time = threading.Lock()
engine = session.Session(sys.argv[1])


def run(search, body):
    """The answer to a request: a statement, or an INSERT in the URL whose rows are the body."""
    for name, value in search.items():
        if name not in NO_SETTING:
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            engine.query(f"SET {name} = '{quoted}'")
    return engine.query(search.get("query", "") + "\n" + body, "TabSeparated").bytes()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
        status, answer = 200, b""
        with one_at_a_time:
            try:
                answer = run(dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)), body)
            except Exception as error:  # What the engine refuses goes to who asked.
                status, answer = 500, str(error).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


engine.query("CREATE DATABASE IF NOT EXISTS sms")
engine.query("USE sms")
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
