"""What has to hold when everything has come to rest: the rows against the model, the cluster, the logs, the debts."""
import os
import re
import subprocess

STATUS = ["", "SUBMITTING", "WAITING", "PROCESSING", "SCHEDULING", "INITIALIZING", "RUNNING", "COMPLETED", "RESCHEDULED", "FAILED",
          "FAILED_CANCELED", "FAILED_SERVER_ERROR", "FAILED_BACKEND_ERROR", "FAILED_EXEC_TIMEOUT", "FAILED_QUEUE_TIMEOUT",
          "FAILED_IMAGE_PULL", "FAILED_UPSTREAM", "FAILED_EVICTED", "FAILED_START_ERROR", "FAILED_START_TIMEOUT", "FAILED_PREEMPTED",
          "PENDING", "FAILED_SUBMISSION"]
COMPLETED, RESCHEDULED = "7", "8"
OPEN_WORK = "SELECT kind, work_key, workflow_uuid, attempts, dead, run_at_us, lease_until_us, owner, last_error FROM work"
UNSETTLED = ("SELECT (SELECT count(*) FROM workflows WHERE status IN (2, 3, 6, 21)), (SELECT count(*) FROM workflows WHERE archived = 0),"
             " (SELECT count(*) FROM work WHERE dead = 0), (SELECT count(*) FROM submissions)")

# Each statement finds rows that contradict the rest of the database.
LATEST = "(SELECT t.* FROM tasks t WHERE t.retry_id = (SELECT max(u.retry_id) FROM tasks u WHERE u.uuid = t.uuid))"
FAILED = "(9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)"
CONTRADICTIONS = [
    ("unfinished tasks", "SELECT workflow_uuid, name, retry_id, status FROM tasks WHERE status < 7"),
    ("tasks that wait for a retry that never came",
     "SELECT t.workflow_uuid, t.name, t.retry_id FROM %s t WHERE t.status = 8" % LATEST),
    ("attempts that are missing or ended otherwise than RESCHEDULED before a later one",
     "SELECT t.workflow_uuid, t.name, t.retry_id, t.status FROM tasks t JOIN tasks u ON u.uuid = t.uuid AND u.retry_id = t.retry_id + 1"
     " WHERE t.status <> 8"),
    ("attempts without the one before",
     "SELECT t.workflow_uuid, t.name, t.retry_id FROM tasks t WHERE t.retry_id > 0 AND NOT EXISTS"
     " (SELECT 1 FROM tasks u WHERE u.uuid = t.uuid AND u.retry_id = t.retry_id - 1)"),
    ("unfinished groups", "SELECT workflow_uuid, name, status FROM workflow_groups WHERE status < 7"),
    ("groups not cleaned up", "SELECT workflow_uuid, name, status FROM workflow_groups WHERE cleaned_up = 0"),
    ("groups whose counters are wrong",
     "SELECT g.workflow_uuid, g.name, g.tasks_total, g.tasks_unfinished, g.tasks_running, g.tasks_finished, c.total, c.finished"
     " FROM workflow_groups g JOIN (SELECT group_uuid, count(*) AS total, sum(CASE WHEN status >= 7 THEN 1 ELSE 0 END) AS finished,"
     " sum(CASE WHEN status = 16 THEN 1 ELSE 0 END) AS upstream, sum(CASE WHEN status = 11 THEN 1 ELSE 0 END) AS server,"
     " sum(CASE WHEN status = 20 THEN 1 ELSE 0 END) AS preempted FROM %s l GROUP BY group_uuid) c ON c.group_uuid = g.uuid"
     " WHERE g.tasks_total <> c.total OR g.tasks_unfinished <> 0 OR g.tasks_running <> 0 OR g.tasks_finished <> c.finished"
     " OR g.failed_upstream <> c.upstream OR g.failed_server_error <> c.server OR g.failed_preempted <> c.preempted" % LATEST),
    ("workflows whose counters are wrong",
     "SELECT w.id, w.groups_total, w.groups_unfinished, w.groups_running, w.groups_failed, w.groups_uncleaned, c.total, c.failed"
     " FROM workflows w JOIN (SELECT workflow_uuid, count(*) AS total, sum(CASE WHEN status IN %s THEN 1 ELSE 0 END) AS failed,"
     " sum(CASE WHEN status = 10 THEN 1 ELSE 0 END) AS canceled, sum(CASE WHEN status = 16 THEN 1 ELSE 0 END) AS upstream"
     " FROM workflow_groups GROUP BY workflow_uuid) c ON c.workflow_uuid = w.uuid WHERE w.groups_total <> c.total OR"
     " w.groups_unfinished <> 0 OR w.groups_running <> 0 OR w.groups_failed <> c.failed OR w.groups_canceled <> c.canceled OR"
     " w.groups_failed_upstream <> c.upstream OR w.groups_uncleaned <> 0" % FAILED),
    ("groups and tasks without a workflow",
     "SELECT workflow_uuid, name FROM workflow_groups WHERE workflow_uuid NOT IN (SELECT uuid FROM workflows) UNION ALL"
     " SELECT workflow_uuid, name FROM tasks WHERE workflow_uuid NOT IN (SELECT uuid FROM workflows)"),
    ("timers of finished workflows", "SELECT kind, subject, workflow_uuid FROM timers WHERE workflow_uuid IN (SELECT uuid FROM workflows)"),
    ("members left in barriers", "SELECT group_uuid, barrier, task FROM barrier_members"),
    ("work that was given up", OPEN_WORK + " WHERE dead = 1"),
    ("work that is left", OPEN_WORK + " WHERE dead = 0"),
    ("submissions that are cut off", "SELECT workflow_uuid FROM submissions"),
    ("finishes that happened twice",
     "SELECT h.workflow_uuid, h.subject, count(*) FROM history h JOIN workflows w ON w.uuid = h.workflow_uuid"
     " WHERE h.to_status >= 7 AND h.to_status NOT IN (8, 21) GROUP BY h.workflow_uuid, h.subject HAVING count(*) > 1"),
]


class Findings:
    def __init__(self):
        self.lines, self.counts = [], {}

    def add(self, kind, text):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= 10:
            self.lines.append("%s: %s" % (kind, text))

    def show(self):
        for line in self.lines:
            print("  WRONG  " + line)
        for kind, n in self.counts.items():
            if n > 10:
                print("  WRONG  %s: %d in all" % (kind, n))


def possible_ends(env, workflows):
    """name → set of end states, as the model sees them."""
    text = "".join(w.model(env.wiped) for w in workflows)
    out = subprocess.run([os.path.join(env.bin, "tests/chaos/model")], input=text.encode(), stdout=subprocess.PIPE, check=True)
    ends = {}
    for line in out.stdout.decode().splitlines():
        name, state = line.split(" ", 1)
        ends.setdefault(name, set())
        if state != ".":
            ends[name].add(state)
    return ends


class Stored:
    """The end as the database has it."""

    def __init__(self, db):
        self.workflows, self.refused, self.twice = {}, {}, []
        for row in db.rows("SELECT name, id, uuid, status, archived FROM workflows ORDER BY job_id"):
            if STATUS[int(row[3])] == "FAILED_SUBMISSION":
                self.refused[row[0]] = row[1]
            elif row[0] in self.workflows:
                self.twice.append(row[1])
            else:
                self.workflows[row[0]] = row
        self.names = {row[2]: row[0] for row in self.workflows.values()}
        self.groups, self.tasks = {}, {}
        for uuid, name, status in db.rows("SELECT workflow_uuid, name, status FROM workflow_groups"):
            self.groups[self.names.get(uuid), name] = status
        for uuid, name, retry, status, code in db.rows("SELECT workflow_uuid, name, retry_id, status, exit_code FROM tasks"):
            self.tasks.setdefault((self.names.get(uuid), name), {})[int(retry)] = (status, code)

    def state(self, w):
        """In the model's words."""
        words = [STATUS[int(self.workflows[w.name][3])]]
        for g in w.groups:
            text = STATUS[int(self.groups.get((w.name, g.name), 0))]
            for t in g.tasks:
                attempts = self.tasks.get((w.name, t.name), {0: ("0", "")})
                last = max(attempts)
                text += ",%s/%d/%s" % (STATUS[int(attempts[last][0])], last, attempts[last][1])
            words.append(text)
        return " ".join(words)


def check_ends(env, workflows, stored, found):
    ends = possible_ends(env, workflows)
    for twice in stored.twice:
        found.add("a submission that was stored twice", twice)
    for w in workflows:
        if w.name in stored.refused and (w.accepted or w.name in stored.workflows):
            found.add("a submission that is refused and stored", "%s %s" % (w.id, stored.refused[w.name]))
        if w.name not in stored.workflows:
            if w.accepted:
                found.add("accepted and lost", w.id)
            continue
        state = stored.state(w)
        if state not in ends[w.name]:
            found.add("an end that the model does not know", "%s (cancel %s, timeout %s)\n      found    %s\n      possible %s" % (
                stored.workflows[w.name][1], w.cancel, w.timeout, state, "\n               ".join(sorted(ends[w.name])[:8])))
    known = {w.name for w in workflows}
    for name in stored.workflows:
        if name not in known:
            found.add("a workflow that nobody submitted", name)


def check_rows(db, found):
    for what, sql in CONTRADICTIONS:
        for row in db.rows(sql):
            found.add(what, " ".join(row))


def read_starts(env, stored):
    """("began" or "gone", (workflow name, task, attempt)) in order; ("wiped", None) where the cluster forgot everything. Both
    kinds of cluster write the same lines."""
    path = os.path.join(env.shared if env.real else env.backend.state, "starts")
    with open(path) as f:
        for line in f:
            words = line.split()
            what = words.pop(0) if words[0] in ("gone", "wiped") else "began"
            if what == "wiped":
                yield what, None
            else:
                name = re.sub(r"-\d+$", "", words[0]) if env.real else stored.names.get(words[0], words[0])
                yield what, (name, words[1], int(words[2]))


def check_starts(env, workflows, stored, found):
    gangs = {(w.name, t.name) for w in workflows for g in w.groups for t in g.tasks if len(g.tasks) > 1}
    count, total = {}, 0
    for what, start in read_starts(env, stored):
        if what != "began":  # where the pod went before its creation was confirmed, it is made again
            count.update({key: 0 for key in count if start in (None, key)})
            continue
        count[start] = count.get(start, 0) + 1
        total += 1
        if count[start] > 1 and not (env.real and start[:2] in gangs):  # a command of a group may begin again in its pod
            found.add("an attempt that began twice", "%s %s attempt %d" % start)
    for (name, task, retry) in count:
        attempts = stored.tasks.get((name, task))
        if attempts is None or retry not in attempts:
            found.add("an attempt that ran and is not known", "%s %s %d" % (name, task, retry))
    for (name, task), attempts in stored.tasks.items():
        for retry, (status, code) in attempts.items():
            if status in (COMPLETED, RESCHEDULED) and code == "0" and (name, task, retry) not in count:
                found.add("an attempt that completed without having begun", "%s %s %d" % (name, task, retry))
    return total


def pods_left(env):
    pods = os.path.join(env.backend.state, "pods")
    return [os.path.join(d, f) for d, _, files in os.walk(pods) for f in files if f == "lock"] + \
        [e.path for e in os.scandir(os.path.join(env.backend.state, "trash"))]


def check_cluster(env, found):
    if env.real:
        for path in pods_left(env):
            found.add("a pod that is left", path)
        return
    live = {}
    with open(os.path.join(env.backend.state, "journal")) as f:
        for line in f:
            op, _, key = line.split(" ", 3)[:3]
            if op == "+":
                live[key.strip()] = 1
            else:
                live.pop(key.strip(), None)
    for key in live:
        if not key.startswith(("Node/", "Queue/")):
            found.add("an object left in the cluster", key)


def check_log(text, w, stored, found):
    """Of every task alone in its group: each attempt's lines once, in order, and all of them where it ended by itself."""
    for g in w.groups:
        if len(g.tasks) > 1:
            continue
        task = g.tasks[0]
        said = re.findall(r"\[%s(?: retry-\d+)?\] (line|last) (\d+)(?: (\d+))?$" % task.name, text, re.M)
        for retry, (status, code) in stored.tasks.get((w.name, task.name), {}).items():
            mine = [(kind, n) for kind, r, n in said if int(r) == retry]
            want = [("line", str(i)) for i in range(1, 9)] + [("last", "")]
            whole = code not in ("", "-1", "3001") and int(code) < 1000
            if (mine != want) if whole else (mine != want[:len(mine)]):
                found.add("a log that is not what was said", "%s %s attempt %d (%s, exit code %s): %s" % (
                    w.id, task.name, retry, STATUS[int(status)], code, " ".join("%s%s" % m for m in mine)))


def served_log(env, workflow_id):
    path = "/api/workflow/%s/logs" % workflow_id
    status, text = env.client.once("GET", path)
    if status == 401 and env.client.login() == 200:
        status, text = env.client.once("GET", path)
    return status, text


def check_logs(env, workflows, stored, found):
    """While a service runs: every log can be read and ends, and is the one in the archive."""
    for w in workflows:
        if w.name not in stored.workflows:
            continue
        status, text = served_log(env, w.id)
        if status != 200:
            found.add("a log that cannot be read, or does not end", "%s: %d" % (w.id, status))
            continue
        if env.real:
            check_log(text.decode("utf-8", "replace"), w, stored, found)
        check_archived(env, w, text, found)


def check_archived(env, w, text, found):
    there = os.path.join(env.archive, w.id)
    for name in ("workflow_logs.txt", "workflow_events.txt", "workflow_spec.yaml"):
        if not os.path.exists(os.path.join(there, name)):
            found.add("not in the archive", "%s/%s" % (w.id, name))
            return
    with open(os.path.join(there, "workflow_logs.txt"), "rb") as f:
        archived = f.read()
    if archived != text:
        found.add("a log in the archive that is not the one that is served", "%s: %d bytes, %d" % (w.id, len(archived), len(text)))
    for task in w.tasks if env.real else ():
        path = os.path.join(there, "task_logs_%s_0.txt" % task)
        lines = []
        if os.path.exists(path):
            with open(path, "rb") as f:
                lines = f.read().splitlines()
        if set(line for line in archived.splitlines() if b" [%s] " % task.encode() in line) - set(lines) or \
                set(lines) - set(archived.splitlines()):
            found.add("a task's log in the archive that is not its part of the whole", "%s %s" % (w.id, task))


def check_sanitizers(env, found):
    for p in env.processes():
        with open(p.log, "rb") as f:
            for line in f:
                if re.search(rb"ThreadSanitizer|AddressSanitizer|LeakSanitizer|runtime error:", line):
                    found.add("a sanitizer complained", "%s: %s" % (p.log, line.decode("utf-8", "replace").strip()))
