# SPDX-License-Identifier: MIT
# arch: x86_64
# vm: --timeout 1800
"""chipboot --json, as a program that reads JSON sees it."""

import json
import subprocess

UP = "chipboot publish success"
TIMED = {"started", "progress", "up", "failed", "gone", "ended", "begin",
         "stopping"}


def lines(*command, code=0):
    """Every line of stdout, parsed: there is nothing else on it."""
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == code
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def run(script, *options, code=0):
    return lines("chipboot", "run", "--json", *options, "--", "sh", "-c",
                 script, code=code)


def kinds(events, chip=None):
    return [event["event"] for event in events
            if chip is None or event.get("chip") == chip]


def test_all_up():
    events = run(f"echo noise; chipboot progress a; {UP} --device-ctx 1 "
                 "--buffer 0xffffffffffffffff", "--chips", "3,5")
    assert events[0]["event"] == "begin"
    assert events[0]["chips"] == [3, 5] and events[0]["channels"] == 2
    assert events[0]["session"] > 0
    for chip in 3, 5:
        assert kinds(events, chip) == ["started", "progress", "up", "ended"]
    for event in events:
        if event["event"] in TIMED:
            assert event["time"].startswith("20")
            assert event["time"].endswith("Z")
    answer = next(e for e in events if e["event"] == "up")
    assert answer["device_ctx"] == 1
    assert answer["buffers"] == [2**64 - 1]
    assert kinds(events).count("complete") == 1
    assert events[-1]["event"] == "summary"
    assert events[-1]["result"] == "up"
    assert events[-1]["exit_code"] == 0
    assert events[-1]["up"] == 2
    assert [a["state"] for a in events[-1]["answers"]] == ["success"] * 2


def test_failures_and_who_was_first():
    events = run(
        "case $CHIPBOOT_CHIP in "
        "1) chipboot publish error 42 'device not found' ;; "
        "2) until chipboot dump 1 | grep -q error; do :; done; exit 7 ;; "
        f"*) {UP} ;; esac", "-n", "3", "--keep-going", code=2)
    failed = [e for e in events if e["event"] == "failed"]
    assert [e["chip"] for e in failed] == [1, 2]
    assert failed[0]["by"] == "publisher" and failed[0]["code"] == 42
    assert failed[0]["message"] == "device not found"
    assert failed[1]["by"] == "exit" and failed[1]["exit_code"] == 7
    assert failed[0]["order"] < failed[1]["order"]
    summary = events[-1]
    assert summary["result"] == "failed" and summary["exit_code"] == 2
    assert summary["failed"] == [1, 2] and summary["first_failed"] == 1
    assert summary["timed_out"] == []
    assert summary["text"].startswith("2 of 3 chips failed: [1,2]; first: ")


def test_gone():
    events = run(f"{UP}; [ $CHIPBOOT_CHIP = 1 ] && chipboot wait --all && "
                 "kill -SEGV $$; exec sleep 1000", "-n", "2", code=1)
    assert kinds(events, 1) == ["started", "up", "gone", "ended"]
    gone = next(e for e in events if e["event"] == "gone")
    assert gone["signal"] == 11
    stopping = next(e for e in events if e["event"] == "stopping")
    assert stopping["why"] == "stopped: chip 1 failed"
    assert events[-1]["answers"][1]["gone"] is True
    assert events[-1]["answers"][0]["gone"] is False


def test_timeout():
    events = run("exec sleep 1000", "-n", "1", "--timeout", "1", code=99)
    assert events[-1]["result"] == "timeout"
    assert events[-1]["timed_out"] == [0]
    assert events[-1]["failed"] == []
    assert events[-1]["text"] == ("timed out after 1 s: chips [0] pending; "
                                  "chip 0: no progress reported")


def test_hostile_text():
    """Bytes that are no UTF-8, quotes, escapes: still JSON, still harmless."""
    events = run("chipboot publish error 1 \"$(printf "
                 "'q\"b\\\\\\\\s\\033[2J\\377\\302\\233e')\"", "-n", "1", code=1)
    failed = next(e for e in events if e["event"] == "failed")
    assert failed["message"] == 'q"b\\\\s\x1b[2J\ufffd\x9be'


def test_dump_and_status():
    script = (f"{UP} --window-size 18446744073709551615; chipboot dump 0 "
              "--json >dumped; chipboot status --verbose --json >status")
    events = run(script, "-n", "1")
    assert events[-1]["exit_code"] == 0
    with open("dumped", encoding="utf-8") as text:
        dumped = json.load(text)
    assert dumped["state"] == "success" and dumped["by"] == "publisher"
    assert dumped["window_size"] == 2**64 - 1 and dumped["bound"] is True
    with open("status", encoding="utf-8") as text:
        status = json.load(text)
    assert status["complete"] is True
    session, = status["sessions"]
    assert session["user"] == "root" and session["owner_state"] == "alive"
    assert session["channels"] == session["up"] == 1
    assert session["command"].startswith("chipboot run --json -n 1 -- ")
    detail, = session["details"]
    assert detail["state"] == "success" and detail["pid"] > 0


def test_nothing_to_see():
    status, = lines("chipboot", "status", "--json")
    assert status["sessions"] == [] and status["complete"] is True
