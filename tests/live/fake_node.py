"""A Kubernetes node as far as names go: the kubelet's folders of logs, a
container runtime (CRI: gRPC over a unix socket) and an API server (TLS with a
CA of its own, tokens, lists in pages, watches with bookmarks), all of which
can be made to behave badly.

    fake_node.py FOLDER [--listen 127.0.0.1:0] [--node here] [--bookmarks SECONDS]

FOLDER gets `pods/`, `containers/`, `cri.sock`, `serviceaccount/token` and
`serviceaccount/ca.crt`. Prints `ready https://ADDRESS:PORT`. Then each line of
standard input is a command in JSON, `{"do": NAME, …}`; each is answered with a
line of JSON. Ends with standard input. The commands are the functions below
whose names begin with `do_`. Needs python3-grpcio and openssl.
"""
import argparse
import copy
import datetime
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from concurrent import futures

import grpc

LOCK = threading.Condition()
KINDS = {
    "/api/v1/pods": ("Pod", "v1"),
    "/api/v1/services": ("Service", "v1"),
    "/api/v1/nodes": ("Node", "v1"),
    "/apis/discovery.k8s.io/v1/endpointslices": ("EndpointSlice", "discovery.k8s.io/v1"),
}


class Cluster:
    """What the API server knows, and how it behaves."""

    def __init__(self, folder, node, bookmarks):
        self.folder, self.node, self.bookmarks = folder, node, bookmarks
        self.version = 1000
        self.oldest = 1000  # watches from before this are 410 Gone
        self.objects = {}  # (kind, namespace, name) -> object
        self.log = []  # (version, kind, type, object)
        self.tokens = set()
        self.forbidden, self.slow, self.silent, self.refusing = set(), 0, False, False
        self.page = 500
        self.cuts, self.half, self.gone_in_stream = 0, False, 0
        self.requests = []
        self.sandboxes, self.containers = {}, {}

    def change(self, kind, verb, item):
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        key = (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        if verb == "DELETED":
            self.objects.pop(key, None)
        else:
            verb = "MODIFIED" if key in self.objects else "ADDED"
            self.objects[key] = item
        self.log.append((self.version, kind, verb, copy.deepcopy(item)))
        LOCK.notify_all()


def stamp(seconds):
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- commands ----------------------------------------------------------------


def do_pod(c, name, namespace="shop", node=None, ip=None, ips=None, labels=None, owner=None, containers=("app",),
           age=0.0, uid=None, host_network=False, api=True, cri=True, logs=True, mirror=None):
    """Adds a pod; on this node also its logs and its sandbox. `containers`: names, or ids by name.
    Answers uid and container ids."""
    node = node or c.node
    uid = uid or str(uuid.uuid4())
    ids = containers if isinstance(containers, dict) else {name: uuid.uuid4().hex * 2 for name in containers}
    ips = ips or ([ip] if ip else [])
    born = time.time() - age
    meta = {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": stamp(born), "labels": labels or {},
            "annotations": {"noise": "x" * 64}, "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]}
    if owner:
        kind, owner_name = owner.split("/")
        meta["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": kind, "name": owner_name, "uid": "u", "controller": True}]
    if mirror:
        meta["annotations"]["kubernetes.io/config.mirror"] = mirror
    statuses = [{"name": name, "containerID": "containerd://" + id, "ready": True, "restartCount": 0, "image": "i",
                 "state": {"running": {"startedAt": stamp(born)}}} for name, id in ids.items()]
    status = {"phase": "Running", "startTime": stamp(born), "containerStatuses": statuses}
    if ips:
        status.update(podIP=ips[0], podIPs=[{"ip": ip} for ip in ips])
    spec = {"nodeName": node, "containers": [{"name": name, "image": "i"} for name in ids]}
    if host_network:
        spec["hostNetwork"] = True
    if api:
        c.change("Pod", "ADDED", {"metadata": meta, "spec": spec, "status": status})
    here = mirror or uid
    if node == c.node and logs:
        for container, id in ids.items():
            folder = os.path.join(c.folder, "pods", f"{namespace}_{name}_{here}", container)
            os.makedirs(folder, exist_ok=True)
            open(os.path.join(folder, "0.log"), "w").close()
            os.symlink(os.path.join(folder, "0.log"),
                       os.path.join(c.folder, "containers", f"{name}_{namespace}_{container}-{id}.log"))
    if node == c.node and cri:
        sandbox = uuid.uuid4().hex * 2
        own = {"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": here}
        c.sandboxes[sandbox] = {"name": name, "namespace": namespace, "uid": here, "ready": True, "ips": ips,
                                "created": int(born * 1e9), "labels": {**own, **(labels or {})}, "host": host_network}
        for container, id in ids.items():
            c.containers[id] = {"sandbox": sandbox, "name": container, "created": int(born * 1e9) + 1000}
    return {"uid": uid, "ids": ids}


def pod_of(c, name, namespace):
    return copy.deepcopy(c.objects[("Pod", namespace, name)])


def stop_sandbox(c, name, namespace):
    for sandbox in c.sandboxes.values():
        if (sandbox["name"], sandbox["namespace"]) == (name, namespace):
            sandbox["ready"] = False


def do_restart(c, name, ip, namespace="shop"):
    """The pod's sandbox is made anew, with another address."""
    stop_sandbox(c, name, namespace)
    pod = pod_of(c, name, namespace)
    pod["status"].update(podIP=ip, podIPs=[{"ip": ip}])
    born = time.time()
    for status in pod["status"]["containerStatuses"]:
        status["state"] = {"running": {"startedAt": stamp(born)}}
    for id, old in list(c.sandboxes.items()):
        if (old["name"], old["namespace"]) == (name, namespace):
            new = uuid.uuid4().hex * 2
            c.sandboxes[new] = {**old, "ready": True, "ips": [ip], "created": int(born * 1e9)}
            for one in list(c.containers.values()):
                if one["sandbox"] == id:
                    c.containers[uuid.uuid4().hex * 2] = {**one, "sandbox": new, "created": int(born * 1e9) + 1000}
            break
    c.change("Pod", "MODIFIED", pod)


def do_ask(c, name, namespace="shop", grace=30):
    """Asks for a pod's end, as `kubectl delete` does."""
    pod = pod_of(c, name, namespace)
    pod["metadata"].update(deletionTimestamp=stamp(time.time() + grace), deletionGracePeriodSeconds=grace)
    c.change("Pod", "MODIFIED", pod)


def do_over(c, name, namespace="shop", phase="Succeeded", ago=0.0):
    """All its containers ended."""
    stop_sandbox(c, name, namespace)
    pod = pod_of(c, name, namespace)
    pod["status"]["phase"] = phase
    for status in pod["status"]["containerStatuses"]:
        started = status["state"].get("running", {}).get("startedAt")
        status["state"] = {"terminated": {"exitCode": 0, "startedAt": started, "finishedAt": stamp(time.time() - ago)}}
    c.change("Pod", "MODIFIED", pod)


def do_delete(c, name, namespace="shop", quiet=False):
    """The pod is gone, with its sandbox and logs; `quiet`: watches are not told, as in an expired history."""
    for id, sandbox in list(c.sandboxes.items()):
        if (sandbox["name"], sandbox["namespace"]) == (name, namespace):
            del c.sandboxes[id]
            c.containers = {i: one for i, one in c.containers.items() if one["sandbox"] != id}
    for entry in os.listdir(os.path.join(c.folder, "containers")):
        if entry.startswith(f"{name}_{namespace}_"):
            os.unlink(os.path.join(c.folder, "containers", entry))
    for entry in os.listdir(os.path.join(c.folder, "pods")):
        if entry.startswith(f"{namespace}_{name}_"):
            shutil.rmtree(os.path.join(c.folder, "pods", entry))
    pod = c.objects.get(("Pod", namespace, name))
    if pod and quiet:
        del c.objects[("Pod", namespace, name)]
        c.version += 1
    elif pod:
        c.change("Pod", "DELETED", copy.deepcopy(pod))


def do_service(c, name, namespace="shop", ips=(), ports=((80, 8080),), external=(), node_port=None, balancer=()):
    """Adds or changes a Service."""
    listed = [{"name": f"p{port}" if len(ports) > 1 else None, "port": port, "targetPort": target, "protocol": "TCP",
               **({"nodePort": node_port} if node_port else {})} for port, target in ports]
    for port in listed:
        if port["name"] is None:
            del port["name"]
    spec = {"clusterIP": ips[0] if ips else "None", "clusterIPs": list(ips) or ["None"], "ports": listed,
            "externalIPs": list(external), "type": "ClusterIP"}
    status = {"loadBalancer": {"ingress": [{"ip": ip} for ip in balancer]} if balancer else {}}
    old = c.objects.get(("Service", namespace, name))
    created = old["metadata"]["creationTimestamp"] if old else stamp(time.time())
    c.change("Service", "ADDED", {"metadata": {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()),
                                               "creationTimestamp": created}, "spec": spec, "status": status})


def do_endpoints(c, service, name=None, namespace="shop", ready=(), not_ready=(), ports=(("", 8080),), family="IPv4"):
    """Adds or changes an EndpointSlice."""
    listed = [{"addresses": [ip], "conditions": {"ready": True}} for ip in ready]
    listed += [{"addresses": [ip], "conditions": {"ready": False}} for ip in not_ready]
    meta = {"name": name or service + "-abcde", "namespace": namespace, "uid": str(uuid.uuid4()),
            "labels": {"kubernetes.io/service-name": service}}
    c.change("EndpointSlice", "ADDED", {"metadata": meta, "addressType": family, "endpoints": listed,
                                        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports]})


def do_node(c, name, ips=()):
    """Adds or changes a node."""
    listed = [{"type": "InternalIP", "address": ip} for ip in ips] + [{"type": "Hostname", "address": name}]
    c.change("Node", "ADDED", {"metadata": {"name": name, "uid": name, "creationTimestamp": stamp(time.time())},
                               "status": {"addresses": listed}})


def do_remove(c, kind, name, namespace="shop"):
    """Deletes a Service, an EndpointSlice or a node."""
    namespace = "" if kind == "Node" else namespace
    c.change(kind, "DELETED", copy.deepcopy(c.objects[(kind, namespace, name)]))


def do_token(c, file=True, keep=False):
    """Another token; the old one is refused unless it is kept."""
    token = uuid.uuid4().hex
    c.tokens = (c.tokens if keep else set()) | {token}
    if file:
        path = os.path.join(c.folder, "serviceaccount", "token")
        with open(path + ".new", "w") as out:
            out.write(token + "\n")
        os.rename(path + ".new", path)


def do_expire(c, in_stream=False):
    """Forgets the history: watches from before are 410 Gone, those that are open by choice as well."""
    c.version += 1
    c.oldest, c.log = c.version, []
    if in_stream:
        c.gone_in_stream += 1
        LOCK.notify_all()


def do_cut(c, half=False):
    """Breaks all watches, in the middle of a line by choice."""
    c.cuts, c.half = c.cuts + 1, half
    LOCK.notify_all()


def do_set(c, **values):
    """`slow` (seconds before an answer), `silent` (watches say nothing), `refusing` (connections are closed),
    `page` (objects in a page at most), `forbidden` (paths with 403)."""
    for name, value in values.items():
        setattr(c, name, set(value) if name == "forbidden" else value)
    LOCK.notify_all()


def do_requests(c):
    """Paths and queries asked for since the last time."""
    asked, c.requests = c.requests, []
    return asked


# ---- the API server ----------------------------------------------------------


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster = None

    def log_message(self, *_):
        pass

    def fail(self, code, reason):
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
                           "message": f"it is {reason}", "code": code}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        c = self.cluster
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        with LOCK:
            c.requests.append(self.path)
            slow, tokens, forbidden = c.slow, c.tokens, c.forbidden
            if c.refusing:
                self.close_connection = True
                return
        time.sleep(slow)
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in tokens:
            return self.fail(401, "Unauthorized")
        if url.path not in KINDS:
            return self.fail(404, "NotFound")
        if url.path in forbidden:
            return self.fail(403, "Forbidden")
        kind, version = KINDS[url.path]
        node = query.get("fieldSelector", "").removeprefix("spec.nodeName=")
        chosen = lambda item: not node or item["spec"].get("nodeName") == node
        if query.get("watch") in ("1", "true"):
            self.watch(kind, version, chosen, query)
        else:
            self.list(kind, version, chosen, query)

    def list(self, kind, version, chosen, query):
        c = self.cluster
        with LOCK:
            start, at = 0, c.version
            if "continue" in query:
                start, at = map(int, query["continue"].split("."))
                if at < c.oldest:
                    return self.fail(410, "Expired")
            items = [item for key, item in sorted(c.objects.items()) if key[0] == kind and chosen(item)]
            size = min(int(query.get("limit", c.page)), c.page)
            page = {"kind": kind + "List", "apiVersion": version, "metadata": {"resourceVersion": str(at)},
                    "items": items[start:start + size]}
            if start + size < len(items):
                page["metadata"]["continue"] = f"{start + size}.{at}"
            body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, verb, item):
        self.chunk(json.dumps({"type": verb, "object": item}).encode() + b"\n")

    def watch(self, kind, version, chosen, query):
        c = self.cluster
        since = int(query.get("resourceVersion") or 0)
        with LOCK:
            if since < c.oldest:
                return self.fail(410, "Expired")
            cuts, gone = c.cuts, c.gone_in_stream
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        ends = time.monotonic() + float(query.get("timeoutSeconds", 300))
        bookmark = time.monotonic() + c.bookmarks
        while time.monotonic() < ends:
            with LOCK:
                news = [] if c.silent else [entry for entry in c.log if entry[0] > since]
                if not news and c.cuts == cuts and c.gone_in_stream == gone:
                    LOCK.wait(0.1)
                    news = [] if c.silent else [entry for entry in c.log if entry[0] > since]
                cut, half = c.cuts != cuts, c.half
                expired, silent = c.gone_in_stream != gone, c.silent
                latest = news[-1][0] if news else since if silent else max(since, c.version)
            if expired:
                self.event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
                break
            for at, of, verb, item in news:
                if of == kind and chosen(item):
                    self.event(verb, item)
            since = latest
            if cut:
                if half:
                    self.chunk(b'{"type":"MODIFIED","object":{"metadata":{"name":"ha')
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if not silent and time.monotonic() > bookmark and query.get("allowWatchBookmarks"):
                bookmark = time.monotonic() + c.bookmarks
                self.event("BOOKMARK", {"kind": kind, "apiVersion": version,
                                        "metadata": {"resourceVersion": str(since), "creationTimestamp": None}})
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass  # whoever breaks off has its reasons


def certificates(folder, address):
    """A CA and a server's certificate from it."""
    at = lambda name: os.path.join(folder, name)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    call = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True)
    call("req", "-x509", *key, "-subj", "/CN=fake", "-keyout", at("ca.key"), "-out", at("ca.crt"),
         "-addext", "basicConstraints=critical,CA:TRUE")
    call("req", "-new", *key[:-2], "-subj", "/CN=server", "-keyout", at("server.key"), "-out", at("server.csr"))
    with open(at("server.ext"), "w") as out:
        out.write(f"subjectAltName=IP:{address},DNS:localhost\nbasicConstraints=CA:FALSE\n")
    call("x509", "-req", "-in", at("server.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial",
         "-days", "2", "-extfile", at("server.ext"), "-out", at("server.crt"))
    shutil.copy(at("ca.crt"), os.path.join(folder, "serviceaccount", "ca.crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(at("server.crt"), at("server.key"))
    return context


# ---- the container runtime: protobuf by hand, as cri-api's runtime.v1 has it ----


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value if value else b""


def message(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def labels(field, pairs):
    return b"".join(message(field, text(1, key) + text(2, value)) for key, value in pairs.items())


def metadata(sandbox):
    return text(1, sandbox["name"]) + text(2, sandbox["uid"]) + text(3, sandbox["namespace"]) + number(4, 1)


def list_sandboxes(c, _request):
    return b"".join(message(1, text(1, id) + message(2, metadata(one)) + number(3, 0 if one["ready"] else 1)
                            + number(4, one["created"]) + labels(5, one["labels"]) + labels(6, {"noise": "x"})
                            + text(7, "runc")) for id, one in c.sandboxes.items())


def list_containers(c, _request):
    return b"".join(message(1, text(1, id) + text(2, one["sandbox"]) + message(3, text(1, one["name"]))
                            + message(4, text(1, "image")) + text(5, "sha256:0") + number(6, 1)
                            + number(7, one["created"])) for id, one in c.containers.items())


def sandbox_status(c, request):
    # pod_sandbox_id is field 1, of less than 128 bytes
    id = request[2:2 + request[1]].decode()
    one = c.sandboxes[id]
    more = b"".join(message(2, text(1, ip)) for ip in one["ips"][1:])
    network = text(1, one["ips"][0] if one["ips"] and one["ready"] else "") + more
    linux = message(1, message(2, number(1, 2 if one["host"] else 0)))
    status = (text(1, id) + message(2, metadata(one)) + number(3, 0 if one["ready"] else 1) + number(4, one["created"])
              + message(5, network) + message(6, linux) + labels(7, one["labels"]))
    return message(1, status)


def runtime(c):
    def handler(name, answer):
        def call(request, context):
            with LOCK:
                c.requests.append(name)
                slow = c.slow
            time.sleep(slow)
            with LOCK:
                try:
                    return answer(c, request)
                except KeyError:
                    context.abort(grpc.StatusCode.NOT_FOUND, "no such sandbox")
        return grpc.unary_unary_rpc_method_handler(call)
    methods = {"ListPodSandbox": list_sandboxes, "ListContainers": list_containers, "PodSandboxStatus": sandbox_status}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    handlers = {name: handler(name, answer) for name, answer in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", handlers),))
    server.add_insecure_port("unix:" + os.path.join(c.folder, "cri.sock"))
    server.start()
    return server


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--node", default="here")
    parser.add_argument("--bookmarks", type=float, default=1.0)
    options = parser.parse_args()
    for name in ("pods", "containers", "serviceaccount"):
        os.makedirs(os.path.join(options.folder, name), exist_ok=True)
    c = Api.cluster = Cluster(options.folder, options.node, options.bookmarks)
    do_token(c)
    address, port = options.listen.rsplit(":", 1)
    server = Server((address, int(port)), Api)
    context = certificates(options.folder, address)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cri = runtime(c)
    print(f"ready https://{address}:{server.server_address[1]}", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        with LOCK:
            try:
                result = globals()["do_" + command.pop("do")](c, **command)
            except Exception as error:  # whoever wrote the command wants to know
                result = {"error": repr(error)}
        print(json.dumps(result), flush=True)
    cri.stop(None)


if __name__ == "__main__":
    main()
