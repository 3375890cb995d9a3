"""The load of many users on the server, by locust.

The mix: of 18 requests, 10 search, 5 add a document, 2 ask for statistics, 1 lists documents. The shape is one of

    NEARFIELD_SHAPE=ramp     grows to the users in a third of the time, and holds them (the default)
    NEARFIELD_SHAPE=spike    a tenth of the users, all of them for a third of the time, a tenth again
    NEARFIELD_SHAPE=stress   grows by a tenth of the users ten times
    NEARFIELD_SHAPE=soak     all users for the whole time; they replace documents, so that the library keeps its size

with NEARFIELD_USERS (100) and NEARFIELD_SECONDS (120). The library gets NEARFIELD_DOCUMENTS (50000) documents of NEARFIELD_DIMENSION (384)
components before the first user begins, unless it has them.

The run fails (exit code 1) if p95 is 500 ms or more, p99 1 s or more, or a thousandth of the requests or more fail. Under the shape `spike`
a 429 is an answer as good as another, and time-outs are failures.

    locust -f profiling/load/locustfile.py --headless --host http://127.0.0.1:8080 --only-summary
"""

import json
import math
import os
import random

import requests
from locust import FastHttpUser, LoadTestShape, between, events, task

LIBRARY = os.environ.get("NEARFIELD_LIBRARY", "load")
USERS = int(os.environ.get("NEARFIELD_USERS", "100"))
SECONDS = int(os.environ.get("NEARFIELD_SECONDS", "120"))
DOCUMENTS = int(os.environ.get("NEARFIELD_DOCUMENTS", "50000"))
DIMENSION = int(os.environ.get("NEARFIELD_DIMENSION", "384"))
SHAPE = os.environ.get("NEARFIELD_SHAPE", "ramp")
# Mean seconds between two requests of a user; 0 is without a pause. Users wait for half to one and a half times as long: with equal pauses,
# users that begin in one tick of the shape would ask in step.
PACE = float(os.environ.get("NEARFIELD_PACE", "1"))

P95_MS, P99_MS, FAILURES = 500, 1000, 0.001

# Vectors are centres with noise, as texts of some subjects are. Centres are the same in each run.
CENTRES = [[random.Random(seed * 1000 + i).gauss(0, 1) for i in range(DIMENSION)] for seed in range(64)]
TOPICS = ["graphs", "oceans", "engines", "music", "law", "plants", "stars", "bread"]


def vector(chance):
    centre = chance.choice(CENTRES)
    return [round(component + chance.gauss(0, 0.7), 4) for component in centre]


def document(chance, number):
    return {
        "id": f"d{number}",
        "title": f"Document {number}",
        "vector": vector(chance),
        "metadata": {"topic": chance.choice(TOPICS), "year": chance.randrange(1950, 2025)},
    }


@events.init.add_listener
def prepare(environment, **_):
    """Makes the library and fills it, before the clock of the shape runs."""
    base = environment.parsed_options.host.rstrip("/") + "/v1/libraries"
    made = requests.post(base, json={"name": LIBRARY, "dimension": DIMENSION}, timeout=60)
    if made.status_code not in (201, 409):
        raise SystemExit(f"the library was not made: {made.text}")
    have = requests.get(f"{base}/{LIBRARY}", timeout=60).json()["documents"]
    chance = random.Random(7)
    lines, sent = [], 0
    for number in range(have, DOCUMENTS):
        lines.append(json.dumps(document(chance, number)))
        if len(lines) == 1000 or number == DOCUMENTS - 1:
            loaded = requests.post(
                f"{base}/{LIBRARY}/documents/bulk",
                data="\n".join(lines).encode(),
                headers={"content-type": "application/x-ndjson"},
                timeout=600,
            )
            if loaded.status_code != 200 or loaded.json()["refused"]:
                raise SystemExit(f"documents were not loaded: {loaded.text}")
            sent += loaded.json()["documents"]
            lines = []
    print(f"the library {LIBRARY} has {have + sent} documents of {DIMENSION} components, {sent} of them new", flush=True)


class Client(FastHttpUser):
    """A user of the library."""

    wait_time = between(PACE / 2, PACE * 1.5)
    network_timeout = connection_timeout = 10.0

    def on_start(self):
        self.chance = random.Random()

    def call(self, method, name, path, **arguments):
        with self.client.request(
            method, f"/v1/libraries/{LIBRARY}{path}", name=name, catch_response=True, **arguments
        ) as response:
            if SHAPE == "spike" and response.status_code == 429:
                response.success()
            elif response.status_code not in (200, 201):
                response.failure(f"{response.status_code}: {response.text}")
            elif name == "search" and len(json.loads(response.text)["hits"]) != 10:
                response.failure("a search has not 10 answers")

    @task(10)
    def search(self):
        body = {"vector": vector(self.chance), "k": 10}
        if self.chance.random() < 0.3:
            body["filter"] = {"topic": self.chance.choice(TOPICS), "year": {"$gte": 1980}}
        self.call("POST", "search", "/search", json=body)

    @task(5)
    def add(self):
        number = self.chance.randrange(DOCUMENTS) if SHAPE == "soak" else f"u{self.chance.getrandbits(60):x}"
        self.call("POST", "add", "/documents", json=document(self.chance, number))

    @task(2)
    def statistics(self):
        self.call("GET", "statistics", "/statistics")

    @task(1)
    def list(self):
        self.call("GET", "list", "/documents?limit=20")


class Shape(LoadTestShape):
    """The number of users over time."""

    def tick(self):
        time = self.get_run_time()
        if time > SECONDS:
            return None
        part = time / SECONDS
        users = {
            "ramp": USERS * min(1, part * 3),
            "spike": USERS if 1 / 3 <= part < 2 / 3 else USERS / 10,
            "stress": USERS * math.ceil(part * 10) / 10,
            "soak": USERS,
        }[SHAPE]
        return max(1, math.ceil(users)), max(1, USERS)


@events.quitting.add_listener
def judge(environment, **_):
    """Sets the exit code."""
    total = environment.stats.total
    p50, p95, p99 = (total.get_response_time_percentile(share) or 0 for share in (0.5, 0.95, 0.99))
    print(
        f"{SHAPE}: {total.num_requests} requests, {total.total_rps:.0f} a second, p50 {p50:.0f} ms, p95 {p95:.0f} ms, "
        f"p99 {p99:.0f} ms, {total.num_failures} failed"
    )
    faults = []
    if total.num_requests == 0:
        faults.append("no request was answered")
    if p95 >= P95_MS:
        faults.append(f"p95 is {p95:.0f} ms, and less than {P95_MS} is wanted")
    if p99 >= P99_MS:
        faults.append(f"p99 is {p99:.0f} ms, and less than {P99_MS} is wanted")
    if total.fail_ratio >= FAILURES:
        faults.append(f"{total.fail_ratio:.2%} of the requests failed, and less than {FAILURES:.2%} is wanted")
    for fault in faults:
        print(f"FAILED: {fault}")
    environment.process_exit_code = 1 if faults else 0
