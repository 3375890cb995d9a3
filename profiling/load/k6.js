// The load of `locustfile.py`, for k6: the same mix, shapes, documents and thresholds.
//   k6 run -e HOST=http://127.0.0.1:8080 -e SHAPE=ramp profiling/load/k6.js
// The library must be there with its documents: `locustfile.py` fills it, as k6 has no place to do so within its limits of time.

import { check, sleep } from "k6";
import http from "k6/http";

const HOST = __ENV.HOST || "http://127.0.0.1:8080";
const LIBRARY = `${HOST}/v1/libraries/${__ENV.LIBRARY || "load"}`;
const USERS = Number(__ENV.USERS || 100);
const SECONDS = Number(__ENV.SECONDS || 120);
const DIMENSION = Number(__ENV.DIMENSION || 384);
const DOCUMENTS = Number(__ENV.DOCUMENTS || 50000);
const SHAPE = __ENV.SHAPE || "ramp";
const TOPICS = ["graphs", "oceans", "engines", "music", "law", "plants", "stars", "bread"];

const third = `${Math.ceil(SECONDS / 3)}s`;
const few = Math.max(1, Math.ceil(USERS / 10));
const shapes = {
  ramp: [{ duration: third, target: USERS }, { duration: `${Math.ceil((SECONDS * 2) / 3)}s`, target: USERS }],
  spike: [
    { duration: third, target: few },
    { duration: "1s", target: USERS },
    { duration: third, target: USERS },
    { duration: "1s", target: few },
    { duration: third, target: few },
  ],
  stress: Array.from({ length: 10 }, (_, i) => ({ duration: `${Math.ceil(SECONDS / 10)}s`, target: Math.ceil((USERS * (i + 1)) / 10) })),
  soak: [{ duration: "1s", target: USERS }, { duration: `${SECONDS}s`, target: USERS }],
};

export const options = {
  scenarios: { users: { executor: "ramping-vus", startVUs: few, stages: shapes[SHAPE] } },
  thresholds: {
    http_req_duration: ["p(95)<500", "p(99)<1000"],
    checks: ["rate>0.999"],
  },
};

function gauss() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

const vector = () => Array.from({ length: DIMENSION }, () => Number(gauss().toFixed(4)));
const topic = () => TOPICS[Math.floor(Math.random() * TOPICS.length)];
const isRight = response => response.status < 300 || (SHAPE === "spike" && response.status === 429);

function post(name, path, body) {
  const parameters = { headers: { "content-type": "application/json" }, tags: { name } };
  check(http.post(LIBRARY + path, JSON.stringify(body), parameters), { [name]: isRight });
}

export default function () {
  const chance = Math.floor(Math.random() * 18);
  if (chance < 10) {
    const body = { vector: vector(), k: 10 };
    if (Math.random() < 0.3) body.filter = { topic: topic(), year: { $gte: 1980 } };
    post("search", "/search", body);
  } else if (chance < 15) {
    const metadata = { topic: topic(), year: 1950 + Math.floor(Math.random() * 75) };
    const document = { title: "A document", vector: vector(), metadata };
    // A soak replaces documents, so that the library keeps its size.
    if (SHAPE === "soak") document.id = `d${Math.floor(Math.random() * DOCUMENTS)}`;
    post("add", "/documents", document);
  } else if (chance < 17) {
    check(http.get(`${LIBRARY}/statistics`, { tags: { name: "statistics" } }), { statistics: isRight });
  } else {
    check(http.get(`${LIBRARY}/documents?limit=20`, { tags: { name: "list" } }), { list: isRight });
  }
  sleep(1);
}
