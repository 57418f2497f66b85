"""Speaks to an analyzer as VMRay's published Python clients do: files with everything else in the query, URLs as a
plain form, requests without a User-Agent, continuation ids followed where they are. Says what it saw as JSON.

use: vmray_client.py URL KEY
"""

import base64
import hashlib
import json
import sys
import time

import requests

URL, KEY = sys.argv[1], sys.argv[2]
HEADERS = {"Authorization": "api_key " + KEY}
FILE = b"a file with VMRAY-SIMULATOR: malicious in it"
seen = {}


def data_of(answer):
    if not 200 <= answer.status_code < 300:
        raise RuntimeError("%d %s" % (answer.status_code, answer.text))
    body = answer.json()
    if body["result"] != "ok":
        raise RuntimeError(body["error_msg"])
    data = body["data"]
    pages = 1
    while "continuation_id" in body:
        answer = requests.get("%s/rest/continuation/%s" % (URL, body["continuation_id"]), headers=HEADERS, timeout=30)
        body = answer.json()
        data.extend(body["data"])
        pages += 1
    return data, pages


def get(path, **params):
    return data_of(requests.get(URL + path, headers=HEADERS, params=params, timeout=30))[0]


def wait_for(submission):
    end = time.time() + 20
    while time.time() < end:
        state = get("/rest/submission/%d" % submission)
        if state["submission_finished"]:
            return state
        get("/rest/job/submission/%d" % submission)
        time.sleep(0.05)
    raise RuntimeError("submission %d does not finish" % submission)


# The health check, and how they learn the page size and the version.
seen["first"] = get("/rest/analysis", _limit="1")
info = get("/rest/system_info")
seen["version"] = info["version"]

# A file, with all other fields in the query and the name as base64 (the way of the TheHive analyzer).
session = requests.Session()
session.headers = dict(HEADERS)
submitted, _ = data_of(
    session.post(
        URL + "/rest/sample/submit",
        files=[("sample_file", ("x", FILE))],
        params={
            "sample_filename_b64enc": base64.b64encode("r\u00e9sum\u00e9.com".encode()),
            "reanalyze": True,
            "shareable": False,
            "max_recursive_samples": 10,
            "tags": "TheHive,mail",
            "user_config": json.dumps({"timeout": 120}),
        },
    )
)
state = wait_for(submitted["submissions"][0]["submission_id"])
sample = get("/rest/sample/%d" % submitted["samples"][0]["sample_id"])
seen["file"] = [state["submission_filename"], state["submission_tags"], sample["sample_verdict"]]
seen["hashes"] = [
    get("/rest/sample/%s/%s" % (kind, hashlib.new(kind, FILE).hexdigest()))[0]["sample_id"] == sample["sample_id"]
    for kind in ("md5", "sha1", "sha256")
]
seen["unknown"] = get("/rest/sample/sha256/" + "0" * 64)
of_sample = "/rest/sample/%d" % sample["sample_id"]
seen["evidence"] = [
    len(get(of_sample + "/threat_indicators")["threat_indicators"]),
    len(get(of_sample + "/vtis")["threat_indicators"]),
    get(of_sample + "/mitre_attack")["status"],
    len(get(of_sample + "/iocs")["iocs"]["files"]),
    len(get(of_sample + "/iocs/verdict/malicious")["iocs"]["files"]),
    len(get(of_sample + "/iocs", all_artifacts="true")["iocs"]),
    len(get("/rest/analysis/sample/%d" % sample["sample_id"])),
]

# A file in the body with the other fields, a name that is no ASCII behind a placeholder (the way of the Splunk app).
submitted, _ = data_of(
    requests.post(
        URL + "/rest/sample/submit",
        headers=dict(HEADERS, **{"User-Agent": "Connector/1"}),
        data={"sample_filename_b64enc": base64.b64encode("\u00fc.txt".encode()).decode(), "reanalyze": "True"},
        files={"sample_file": ("@param=sample_filename_b64enc", b"text", "application/octet-stream")},
        timeout=30,
    )
)
seen["name"] = wait_for(submitted["submissions"][0]["submission_id"])["submission_filename"]

# A URL as a plain form, and one in the query of a POST without a body.
submitted, _ = data_of(
    requests.post(
        URL + "/rest/sample/submit",
        headers=HEADERS,
        data={"sample_url": "http://suspicious.example/?a=b&c=d", "analyzer_mode": "reputation"},
        timeout=30,
    )
)
finished = wait_for(submitted["submissions"][0]["submission_id"])
looked_up = get("/rest/reputation_lookup/submission/%d" % finished["submission_id"])
seen["url"] = [finished["submission_verdict"], looked_up[0]["reputation_lookup_verdict"]]
known = {"sample_url": "http://www.example/", "reanalyze": False, "analysis_caching": "legacy", "shareable": False}
answers = [data_of(session.post(URL + "/rest/sample/submit", params=known))[0] for _ in range(2)]
seen["known"] = [[error["error_msg"] for error in answer["errors"]] for answer in answers]

# The feed by pages of its own, and a list by continuation ids.
for number in range(230):
    requests.post(
        URL + "/rest/sample/submit",
        headers=HEADERS,
        data={"sample_url": "http://page%d.example/" % number},
        timeout=30,
    ).raise_for_status()
last = wait_for(get("/rest/submission", _limit="1")[0]["submission_id"])["submission_id"]
time.sleep(0.3)
fed = []
cursor = 0
while True:
    page = get("/rest/submission", _order="asc", _limit=info["api_items_per_request"], _last_id=cursor)
    if not page:
        break
    fed.extend(one["submission_id"] for one in page)
    cursor = page[-1]["submission_id"]
listed, pages = data_of(
    requests.get(URL + "/rest/submission", headers=HEADERS, params={"_order": "asc", "_limit": "1000"}, timeout=30)
)
ids = [one["submission_id"] for one in listed]
seen["paging"] = [len(fed), len(set(fed)), sorted(fed) == ids, pages]
seen["one"] = [
    len(get("/rest/analysis?analysis_submission_id=%d" % last)),
    get("/rest/submission?submission_parent_submission_id=%d" % last),
]

# The quota.
quota = get("/rest/api_key/quota")
billing = get("/rest/billing_info")
seen["quota"] = [quota["quota_limit"], quota["used_quota"], billing["report_quota"] - billing["report_remaining"]]

# What is refused.
seen["refused"] = [
    [answer.status_code, answer.json()["error_msg"]]
    for answer in (
        requests.get(URL + "/rest/job/1", headers=HEADERS, timeout=30),
        requests.get(URL + "/rest/system_info", headers={"Authorization": "api_key wrong"}, timeout=30),
        requests.post(URL + "/rest/sample/submit", headers=HEADERS, data={"sample_uri": "http://a/"}, timeout=30),
    )
]
print(json.dumps(seen))
