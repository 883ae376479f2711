"""Workflows of the chaos test: made from a seed, as a specification for the service and as a description for the model."""
import random

RETRIES = 2
IMAGE = "debian"
POOL_ACTIONS = {"RESCHEDULE": "9,3001"}

# what an attempt comes to: exit code in the pod, what happens to it, and the report that follows from it
ENDS = {
    "ok": (0, "", "COMPLETED", 0),
    "three": (3, "", "FAILED", 3),
    "five": (5, "", "FAILED", 5),
    "seven": (7, "", "FAILED", 7),
    "nine": (9, "", "FAILED", 9),
    "evict": (0, "evict", "FAILED_EVICTED", 3004),
    "oom": (137, "oom", "FAILED_EVICTED", 3004),
    "preempt": (0, "preempt", "FAILED_PREEMPTED", 3006),
    "start": (0, "start_error", "FAILED_START_ERROR", 3003),
    "image": (0, "image", "FAILED_IMAGE_PULL", 302),
    "gone": (0, "delete", "FAILED_BACKEND_ERROR", 3001),
    "never": (0, "", "NEVER", 0),
    "queue": (0, "queue", "NEVER", 0),
}
PLAIN = ["ok", "three", "five", "seven", "nine"]
CLUSTER = ["evict", "oom", "preempt", "start", "image", "gone"]
ACTIONS = [{}, {}, {"RESCHEDULE": "7"}, {"RESCHEDULE": "3,3004-3006"}, {"COMPLETE": "5", "RESCHEDULE": "7"},
           {"FAIL": "9", "COMPLETE": "3"}, {"COMPLETE": "5,3004"}]


class Task:
    def __init__(self, rng, name, lead, real, never=None):
        self.name, self.lead, self.inputs = name, lead, []
        self.actions = dict(rng.choice(ACTIONS)) if not never else {}
        pool = PLAIN if real else PLAIN + CLUSTER
        self.attempts = []
        for _ in range(RETRIES + 1):
            end = never or ("ok" if rng.random() < 0.62 else rng.choice(pool))
            self.attempts.append((3600000 if end == "never" else rng.choice([0, 20, 100, 300, 800]), end))

    def marks(self):
        return ";".join("%d %d %s" % (ms, ENDS[end][0], ENDS[end][1]) for ms, end in self.attempts)

    def model(self):
        actions = ";".join("%s=%s" % kv for kv in self.actions.items()) or "-"
        return "task %d %s %s" % (self.lead, actions, ";".join("%s:%d" % ENDS[end][2:] for _, end in self.attempts))


class Group:
    def __init__(self, name, tasks, upstream, ignore):
        self.name, self.tasks, self.upstream, self.ignore = name, tasks, upstream, ignore


class Workflow:
    """One submission. cancel_after: seconds, None for never; cancel: what is known of it: no, may, must."""

    def __init__(self, seed, number, real, wiped):
        rng = random.Random("%s/%d" % (seed, number))
        self.name, self.real = "c%d" % number, real
        self.id, self.accepted, self.cancel = None, False, "no"
        # Real nodes have room. And queue_timeout is the group's: a retry of one that had its room before, until it was wiped
        # away, is limited by its exec_timeout alone.
        self.timeout = rng.choices(["none", "exec", "queue"], [90, 6, 0 if real or wiped else 4])[0]
        self.cancel_after = rng.choice([0, 0.02, 0.1, 0.3, 1.0]) if rng.random() < 0.15 else None
        self.groups = []
        self._build(rng, rng.choice([self._chain, self._parallel, self._diamond, self._gangs, self._single]))

    def _group(self, rng, sizes, upstream, ignore=True):
        g, never = len(self.groups), {"exec": "never", "queue": "queue", "none": None}[self.timeout]
        tasks = [Task(rng, "g%dt%d" % (g, i), i == 0, self.real, never if g == 0 else None) for i in range(sizes)]
        if sizes > 1:
            rng.shuffle(tasks)
        for u in upstream:
            for t in tasks:
                # one that ends with its lead may have no output
                t.inputs.append(next(x for x in self.groups[u].tasks if x.lead).name)
        self.groups.append(Group("g%d" % g, tasks, upstream, ignore))

    def _single(self, rng):
        self._group(rng, 1, [])

    def _chain(self, rng):
        for i in range(rng.randint(2, 4)):
            self._group(rng, 1, [i - 1] if i else [])

    def _parallel(self, rng):
        for _ in range(rng.randint(2, 4)):
            self._group(rng, 1, [])

    def _diamond(self, rng):
        for upstream in ([], [0], [0], [1, 2]):
            self._group(rng, 1, upstream)

    def _gangs(self, rng):
        self._group(rng, rng.randint(2, 3), [], rng.random() < 0.5)
        if rng.random() < 0.5:
            self._group(rng, rng.randint(1, 2), [0], rng.random() < 0.5)

    def _build(self, rng, how):
        how(rng)
        self.tasks = {t.name: t for g in self.groups for t in g.tasks}

    # ---- for the model ----

    def model(self, wiped):
        pool = ";".join("%s=%s" % kv for kv in POOL_ACTIONS.items())
        lines = ["workflow %s %d %s %s %d %s" % (self.name, RETRIES, self.cancel, self.timeout, wiped, pool)]
        for g in self.groups:
            lines.append("group %d %d" % (sum(1 << u for u in g.upstream), g.ignore))
            lines += [t.model() for t in g.tasks]
        return "\n".join(lines + ["end"]) + "\n"

    # ---- for the service ----

    def spec(self):
        lines = ["workflow:", "  name: " + self.name]
        if self.timeout != "none":
            lines.append("  timeout: {%s_timeout: 1s}" % self.timeout)
        lines.append("  groups:")
        for g in self.groups:
            lines += ["  - name: " + g.name, "    ignoreNonleadStatus: %s" % str(g.ignore).lower(), "    tasks:"]
            for t in g.tasks:
                lines += self._task(t)
        return "\n".join(lines) + "\n"

    def _task(self, t):
        lines = ["    - name: " + t.name, "      lead: %s" % str(t.lead).lower(), "      image: " + IMAGE]
        if self.real:
            lines += ["      command: [sh, -c]", "      args:", "      - |"]
            lines += ["        " + line for line in self.script(t)]
        else:
            lines += ["      command: ['true']", "      environment: {CHAOS: '%s'}" % t.marks()]
        if t.inputs:
            lines.append("      inputs: [%s]" % ", ".join("{task: %s}" % name for name in t.inputs))
        if t.actions:
            lines.append("      exitActions: {%s}" % ", ".join("%s: '%s'" % kv for kv in t.actions.items()))
        return lines

    def script(self, t):
        """What a real task does: a mark outside, numbered lines, its inputs, an output."""
        lines = ['echo "$WORKFLOW %s $ATTEMPT" >> /chaos/starts' % t.name, "case $ATTEMPT in"]
        for n, (ms, end) in enumerate(t.attempts):
            lines.append("%s) ms=%d; code=%d;;" % ("*" if n == RETRIES else n, ms, ENDS[end][0]))
        lines += ["esac", "for i in 1 2 3 4 5 6 7 8; do echo \"line $ATTEMPT $i\"; done"]
        for i, name in enumerate(t.inputs):
            lines.append('[ "$(cat {{input:%d}}/from-%s)" = %s ] || { echo bad input %s; exit 66; }' % (i, name, name, name))
        lines += ["echo %s > {{output}}/from-%s" % (t.name, t.name),
                  'sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"', 'echo "last $ATTEMPT"', "exit $code"]
        return lines
