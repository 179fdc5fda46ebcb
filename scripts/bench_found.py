"""What `perisco analyze` finds in a capture, held against what the peers that
made the capture counted (NAME.truth beside it)."""

import json
import re
import subprocess

STREAM_MESSAGES_EACH = 1  # the request of a server stream


def truth(path):
    """What a .truth file says: transactions, and for gRPC statuses and messages."""
    text = path.read_text() if path.exists() else ""
    known = {}
    counted = re.search(r"^nginx_requests (\d+)$", text, re.M)
    if counted:
        known["transactions"] = int(counted[1])
    grpc = re.search(r'^\{"unary_ok".*\}$', text, re.M)
    if grpc:
        said = json.loads(grpc[0])
        ok, missing, streams = said["unary_ok"], said["unary_not_found"], said["streams"]
        known["transactions"] = ok + missing + streams
        known["statuses"] = {"OK": ok + streams, **({"NOT_FOUND": missing} if missing else {})}
        known["messages"] = ok * 2 + missing + streams * STREAM_MESSAGES_EACH + said["stream_msgs"]
    dropped = re.search(r"^(\d+) packets? dropped by kernel", text, re.M)
    known["dropped"] = int(dropped[1]) if dropped else 0
    return known


def grpc_details(perisco, capture):
    """Statuses and messages of all calls, from the lines."""
    statuses, messages = {}, 0
    with subprocess.Popen([perisco, "analyze", "--format", "jsonl", "--no-headers", str(capture)],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            call = json.loads(line)["grpc"]
            if call:
                statuses[call["status_name"]] = statuses.get(call["status_name"], 0) + 1
                messages += call["request_messages"] + call["response_messages"]
    return {"statuses": statuses, "messages": messages}


def found(perisco, capture):
    """Transactions, those of which both messages were seen whole and paired, packets; gRPC's details."""
    done = subprocess.run([perisco, "analyze", "--format", "json", str(capture)], capture_output=True, check=False)
    report = json.loads(done.stdout)
    transactions = report["transactions"]
    figures = {
        "packets": report["capture"]["packets"],
        "transactions": transactions["count"],
        "paired": transactions["latency"]["count"],
        "complete": transactions["completeness"]["complete"],
    }
    if "grpc" in transactions["protocols"]:
        figures.update(grpc_details(perisco, capture))
    return figures


def judge(figures, known):
    """A line on what was found, and whether it is all there is; None: nobody counted."""
    text = f"{figures['transactions']:,} transactions, {figures['paired']:,} paired, {figures['complete']:,} complete"
    if "messages" in figures:
        statuses = ", ".join(f"{count:,} {name}" for name, count in sorted(figures["statuses"].items(), key=str))
        text += f"; {statuses}; {figures['messages']:,} messages"
    if "transactions" not in known:
        return text, None
    wanted = known["transactions"]
    right = figures["transactions"] == figures["paired"] == figures["complete"] == wanted
    right = right and all(figures.get(key) == known[key] for key in ("statuses", "messages") if key in known)
    text += f"; the peers counted {wanted:,}"
    if known["dropped"]:
        text += f" (tcpdump dropped {known['dropped']:,} packets: not all can be there)"
    return text, right
