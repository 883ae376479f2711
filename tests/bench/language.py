"""Figures of the workflow language: our libraries against python3-jinja2 and PyYAML's C loader, on one text in one run.
    language.py PROGRAM [RUNS]        (PROGRAM: tests/bench/language)
The peer only renders and loads; ours also reads the schema, validates, and writes what would be stored. Each side is a
process of its own."""
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

SPEC = """\
default-values:
  count: {count}
  image: nvcr.io/nvidia/pytorch:24.01-py3
  scale: 2.5
workflow:
  name: sweep
  resources:
    default:
      cpu: 2
      memory: 8Gi
      storage: 10Gi
  tasks:
{{%- for i in range(count) %}}
  - name: train-{{{{ i }}}}
    image: {{{{ image }}}}
    command: [python3, train.py]
    args: ["--shard", "{{{{ i }}}}", "--lr", "{{{{ scale * (i + 1) }}}}", "--out", "{{{{output}}}}"]
    environment:
      SHARD: "{{{{ i }}}}"
      MODE: {{% if i % 10 == 0 %}}evaluate{{% else %}}train{{% endif %}}
    {{%- if i > 0 and i % 10 == 0 %}}
    inputs:
    - task: train-{{{{ i - 1 }}}}
    {{%- endif %}}
{{%- endfor %}}
"""


def spec(count):
    return SPEC.format(count=count)


def render_only_text(text, count):
    """The workflow section alone, without variables: what both template engines get in the second comparison."""
    section = text[text.index("workflow:"):]
    return section.replace("range(count)", f"range({count})").replace("{{ image }}",
        "debian").replace("{{ scale * (i + 1) }}", "{{ 2.5 * (i + 1) }}").replace("{{output}}", "out")


def ours(program, mode, path, runs):
    out = subprocess.run([program, mode, path, str(runs)], stdout=subprocess.PIPE, check=True)
    return json.loads(out.stdout)


def peer(mode, path, runs):
    """This file again, as a process of its own, so that its memory is its own."""
    out = subprocess.run([sys.executable, os.path.abspath(__file__), "--peer", mode, path, str(runs)],
                         stdout=subprocess.PIPE, check=True)
    return json.loads(out.stdout)


def timed(function, runs):
    values, result = [], None
    for i in range(runs + (runs > 1)):
        start = time.process_time()
        result = function()
        if i or runs == 1:
            values.append((time.process_time() - start) * 1000)
    return statistics.median(values), result


def peer_main(mode, path, runs):
    import jinja2
    import jinja2.sandbox
    import yaml
    text = open(path, encoding="utf-8").read()

    def environment():
        return jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined)

    def whole():
        """As a service would: a fresh environment for each text, since no two users send the same one."""
        at = text.index("workflow:")
        values = yaml.load(text[:at], yaml.CSafeLoader)["default-values"]
        protected = text[at:].replace("{{output}}", "{{ token }}")
        start = time.process_time()
        rendered = environment().from_string(protected).render({**values, "token": "{{output}}"})
        between = time.process_time()
        document = yaml.load(rendered, yaml.CSafeLoader)
        steps.append(((between - start) * 1000, (time.process_time() - between) * 1000))
        return len(document["workflow"]["tasks"]), len(rendered)

    steps = []
    if mode == "whole":
        total, (tasks, size) = timed(whole, runs)
        answer = {"total": total, "tasks": tasks, "bytes": size, "render": statistics.median(s[0] for s in steps),
                  "yaml": statistics.median(s[1] for s in steps)}
    else:
        template = environment().from_string(text)
        both, _ = timed(lambda: environment().from_string(text).render(), runs)
        only, out = timed(template.render, runs)
        answer = {"compile_and_render": both, "render_only": only, "bytes": len(out.encode())}
    answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(answer))


def row(*cells):
    widths = (58, 14, 14, 10, 12)
    print("| " + " | ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i,
                            (c, w) in enumerate(zip(cells, widths))) + " |")


def machine():
    try:
        import jinja2
        import yaml
    except ImportError:
        sys.exit("language.py: the peers are missing: apt-get install python3-jinja2 python3-yaml")
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 "?")
    flags = next((line.strip() for line in open("Makefile") if line.startswith("CFLAGS = ")),
                 "") if os.path.exists("Makefile") else ""
    gcc = subprocess.run(["gcc", "--version"], stdout=subprocess.PIPE).stdout.decode().split("\n")[0]
    print(f"machine: {os.cpu_count()} x {model}, Linux {platform.release()}; {gcc}, {flags}")
    print(
        f"peer: Python {platform.python_version()}, Jinja2 {jinja2.__version__}, PyYAML {yaml.__version__} with libyaml; "
        "sandbox, strict undefined")


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def main():
    program, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("RUNS", "7"))
    machine()
    print(
        f"{runs} runs after one to warm up, medians; milliseconds of processor time "
        "(one thread: the wall time of an idle machine)\n")
    with tempfile.TemporaryDirectory() as directory:
        row("figure", "ours", "peer", "ratio", "aim")
        row("-" * 58, "-" * 14, "-" * 14, "-" * 10, "-" * 12)
        path = write(directory, "10000.yaml", spec(10000))
        mine, theirs = ours(program, "whole", path, runs), peer("whole", path, runs)
        row(f"{mine['tasks']} tasks: parse + render + validate + expand", f"{mine['total']:.1f}",
            f"{theirs['total']:.1f}", f"{theirs['total'] / mine['total']:.1f}", ">= 25")
        row("  of this: render", f"{mine['render']:.1f}", f"{theirs['render']:.1f}",
            f"{theirs['render'] / mine['render']:.1f}", "")
        row("  of this: YAML", f"{mine['yaml']:.1f}", f"{theirs['yaml']:.1f}", f"{theirs['yaml'] / mine['yaml']:.1f}",
            "")
        for stage, what in (("read", "schema"), ("validate", "validate"), ("expand", "write what is stored"),
                            ("release", "release memory")):
            row(f"  of this: {what}", f"{mine[stage]:.1f}", "not done", "", "")
        section = write(directory, "section.yaml", render_only_text(spec(10000), 10000))
        mine, theirs = ours(program, "render", section, runs), peer("render", section, runs)
        if mine["bytes"] != theirs["bytes"]:
            sys.exit(f"the two do not render the same: {mine['bytes']} and {theirs['bytes']} bytes")
        row("10000 iterations: compile and render", f"{mine['compile_and_render']:.2f}",
            f"{theirs['compile_and_render']:.2f}", f"{theirs['compile_and_render'] / mine['compile_and_render']:.1f}",
            ">= 2")
        row("10000 iterations: render only", f"{mine['render_only']:.2f}", f"{theirs['render_only']:.2f}",
            f"{theirs['render_only'] / mine['render_only']:.1f}", ">= 2")
        simple = write(
            directory, "simple.yaml",
            "workflow:\n{% for i in range(10000) %}  - name: task-{{ i }}\n    image: debian\n{% endfor %}")
        mine, theirs = ours(program, "render", simple, runs), peer("render", simple, runs)
        row("10000 plain iterations: compile and render", f"{mine['compile_and_render']:.2f}",
            f"{theirs['compile_and_render']:.2f}", f"{theirs['compile_and_render'] / mine['compile_and_render']:.1f}",
            ">= 2")
        row("10000 plain iterations: render only", f"{mine['render_only']:.2f}", f"{theirs['render_only']:.2f}",
            f"{theirs['render_only'] / mine['render_only']:.1f}", ">= 2")
        print()
        row("growth: tasks", "ms", "peak MiB", "us/task", "KiB/task")
        row("-" * 58, "-" * 14, "-" * 14, "-" * 10, "-" * 12)
        for count in (1000, 10000, 100000):
            path = write(directory, f"{count}.yaml", spec(count))
            few = max(3, runs // 2 + 1)
            alone = [ours(program, "whole", path, 1) for _ in range(few)]  # a fresh process each
            total, peak = statistics.median(a["total"] for a in alone), statistics.median(a["peak_mib"] for a in alone)
            row(f"ours, {count}", f"{total:.1f}", f"{peak:.1f}", f"{total * 1000 / count:.2f}",
                f"{peak * 1024 / count:.2f}")
        for count in (1000, 10000):
            theirs = peer("whole", os.path.join(directory, f"{count}.yaml"), 1)
            row(f"peer (render and load only), {count}", f"{theirs['total']:.1f}", f"{theirs['peak_mib']:.1f}",
                f"{theirs['total'] * 1000 / count:.2f}", f"{theirs['peak_mib'] * 1024 / count:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer_main(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
