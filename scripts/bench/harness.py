"""What all measurements have in common: processes that are measured, load, rounds in turn, tables and plots."""

import datetime
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def say(text):
    print(text, file=sys.stderr, flush=True)


def missing(program, package):
    """None where the program is there, else what to say in the table."""
    return None if shutil.which(program) else f"not measured: `{program}` is missing (Debian's package `{package}`)"


def built(*benches):
    """The release build of larder and of benches, by name."""
    command = ["cargo", "build", "--release", "--locked", "--message-format", "json"]
    programs = artifacts(command, ["larder"])
    return programs | {name: built_bench(name) for name in benches}


def built_bench(name):
    command = ["cargo", "bench", "--locked", "--no-run", "--message-format", "json", "--bench", name]
    return artifacts(command, [name])[name]


def artifacts(command, names):
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for message in map(json.loads, output.splitlines()):
        if message.get("executable") and message["target"]["name"] in names:
            found[message["target"]["name"]] = message["executable"]
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def status(pid, name):
    """A line of /proc/PID/status, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


class Process:
    """A program that is stopped at the end, by its pid. `port` is one that was free."""

    def __init__(self, command, port, env=None, log=None):
        self.port = port
        self.log = open(log or os.devnull, "wb")
        self.started = time.perf_counter()
        environment = {**os.environ, **(env or {})}
        self.child = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    @property
    def pid(self):
        return self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            self.child.wait()
        self.log.close()

    def wait_for(self, path, seconds=60, pause=0.001):
        """Until `GET path` is answered with 200; returns the seconds since the start."""
        while time.perf_counter() - self.started < seconds:
            if self.child.poll() is not None:
                raise SystemExit(f"{self.child.args[0]} ended with {self.child.returncode}; see {self.log.name}")
            try:
                if self.request("GET", path)[0] == 200:
                    return time.perf_counter() - self.started
            except OSError:
                pass
            time.sleep(pause)
        raise SystemExit(f"{self.child.args[0]} was not ready in {seconds} s; see {self.log.name}")

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def post(self, path, body):
        text, headers = json.dumps(body), {"Content-Type": "application/json"}
        code, answer = self.request("POST", path, text, headers)
        if code // 100 != 2:
            raise SystemExit(f"{path}: {code} {answer[:500]}")
        return json.loads(answer)


class Larder(Process):
    """A node on a data directory; made where it is not there yet."""

    def __init__(self, program, data, env=None):
        port = free_port()
        self.program = program
        command = [program, "serve", "--data", str(data), "--listen", f"127.0.0.1:{port}"]
        super().__init__(command, port, env, f"{data}.log")
        self.ready = self.wait_for("/readyz")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def apply(self, text):
        code, answer = self.request("POST", "/v1/registry/apply", text, {"Content-Type": "application/toml"})
        if code != 200:
            raise SystemExit(f"apply: {code} {answer}")

    def run(self, *words):
        """A command of larder that talks to the node."""
        subprocess.run([self.program, *map(str, words), "--server", self.url], check=True)

    def ingest(self, *arguments):
        started = time.perf_counter()
        command = [self.program, "ingest", "--server", self.url, *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - started


def redis(directory):
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = Process(command, port, log=pathlib.Path(directory) / "redis.log")
    while subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True).stdout.strip() != b"PONG":
        time.sleep(0.02)
    return process


class Bodies:
    """Request bodies on disk, for wrk."""

    def __init__(self, bodies, content_type="application/json", accept="application/json"):
        self.dir = tempfile.TemporaryDirectory()
        self.count = 0
        for body in bodies:
            self.count += 1
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            (pathlib.Path(self.dir.name) / str(self.count)).write_bytes(data)
        self.content_type, self.accept = content_type, accept


def wrk(port, path, bodies, connections=32, seconds=5, threads=1, forgiving=False):
    """Closed loop: each connection sends its next request when it has its answer. Not one may fail, unless `forgiving`."""
    env = {"BODIES": bodies.dir.name, "COUNT": str(bodies.count), "PATH_": path}
    env |= {"CONTENT_TYPE": bodies.content_type, "ACCEPT": bodies.accept}
    script = str(pathlib.Path(__file__).with_name("post.lua"))
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", script]
    command.append(f"http://127.0.0.1:{port}")
    output = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout
    figures = json.loads(next(line for line in output.splitlines() if line.startswith("JSON "))[5:])
    if figures["bad"] and not forgiving:
        raise SystemExit(f"{path}: {figures['bad']} of {figures['requests']} requests failed")
    return figures


def in_turn(rounds, runs):
    """Runs all of `runs` (name to function) once a round, A B A B; gives each name's list of results. A function gives
    a number or a dictionary."""
    results = {name: [] for name in runs}
    for round in range(rounds):
        for name, run in runs.items():
            results[name].append(run())
            say(f"round {round + 1}: {name}: {results[name][-1]}")
    return results


def middle(results, key="per_s"):
    return statistics.median(it[key] if isinstance(it, dict) else it for it in results)


def spread(results, key="per_s", digits=0):
    numbers = [it[key] if isinstance(it, dict) else it for it in results]
    low, high = (f"{it:,.{digits}f}" for it in (min(numbers), max(numbers)))
    return f"{statistics.median(numbers):,.{digits}f} ({low} to {high})"


class Report:
    """Markdown, and a plot of it."""

    def __init__(self, title):
        self.title, self.parts, self.bars = title, [], []

    def text(self, *lines):
        self.parts += [*lines, ""]

    def table(self, head, rows):
        self.parts.append("| " + " | ".join(head) + " |")
        self.parts.append("|" + "---|" * len(head))
        self.parts += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
        self.parts.append("")

    def bar(self, group, name, value, text=None):
        self.bars.append((group, name, value, text or f"{value:,.0f}"))

    def finish(self, out):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
        head = f"{datetime.date.today()}, {os.cpu_count()} cores ({processor()}), {memory} GB, Linux {platform.release()}"
        print(f"## {self.title}\n\n{head}\n\n" + "\n".join(self.parts))
        if out and self.bars:
            out.mkdir(parents=True, exist_ok=True)
            name = "".join(c if c.isalnum() else "-" for c in self.title.lower()).strip("-")
            (out / f"{name}.svg").write_text(plot(self.title, self.bars))
            say(f"plot: {out / name}.svg")


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def plot(title, bars):
    """Horizontal bars in groups, each group on a scale of its own."""
    width, left, line = 860, 300, 22
    groups = {}
    for group, name, value, text in bars:
        groups.setdefault(group, []).append((name, value, text))
    parts, y = [f'<text x="12" y="26" font-size="17" font-weight="bold">{escaped(title)}</text>'], 48
    for group, members in groups.items():
        y += 12
        parts.append(f'<text x="12" y="{y + 8}" font-weight="bold">{escaped(group)}</text>')
        y += 18
        most = max(value for _, value, _ in members) or 1
        for name, value, text in members:
            length = max(1, round((width - left - 150) * value / most))
            colour = "#c2410c" if name.startswith("larder") else "#94a3b8"
            parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escaped(name)}</text>')
            parts.append(f'<rect x="{left}" y="{y + 2}" width="{length}" height="16" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{left + length + 6}" y="{y + 14}">{escaped(text)}</text>')
            y += line
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 16}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")
