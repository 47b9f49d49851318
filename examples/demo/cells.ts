/** What the demo's assistant runs, call by call, in one session. */
export const cells = {
  load: `
import ast, pathlib, sysconfig

root = pathlib.Path(sysconfig.get_paths()["stdlib"])
skip = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}
files = [p for p in sorted(root.rglob("*.py")) if not skip & set(p.relative_to(root).parts)][:160]
trees, lines = {}, 0
for n, path in enumerate(files, 1):
    source = path.read_text(encoding="utf-8", errors="replace")
    lines += source.count("\\n")
    trees[str(path.relative_to(root))] = ast.parse(source)
    if n % 40 == 0:
        ec.progress(n, len(files), path.name)
print(f"parsed {len(trees)} files, {lines:,} lines")
`,
  measure: `
import statistics

def cyclomatic(node):
    """Decisions in a function, plus one (McCabe 1976)."""
    decisions = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.BoolOp, ast.IfExp)
    return 1 + sum(isinstance(n, decisions) for n in ast.walk(node))

functions = [(cyclomatic(node), module, node.name)
             for module, tree in trees.items()
             for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
values = [c for c, _, _ in functions]
f"{len(functions)} functions, median complexity {statistics.median(values)}, mean {statistics.mean(values):.1f}"
`,
  mistake: `
worst = functions.nlargest(8)
`,
  table: `
import collections, heapq

worst = heapq.nlargest(8, functions)

class Table:
    def __init__(self, head, rows):
        self.head, self.rows = head, rows

    def _repr_markdown_(self):
        line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"
        return "\\n".join([line(self.head), line("---" for _ in self.head), *map(line, self.rows)])

per_module = collections.Counter()
for c, module, _ in functions:
    per_module[module] += c
top = per_module.most_common(5)
for module, total in top:
    print(f"{module:28} {'█' * (total * 40 // top[0][1])} {total}")
Table(["module", "function", "complexity"], [(m, f, c) for c, m, f in worst])
`,
  after: `
len(trees), len(functions), worst[0][2]
`,
  blunder: `
functions = [f for f in functions if f[0] > 1_000_000]
trees.clear()
len(trees), len(functions)
`,
  idea: `
risky = [f for f in functions if f[0] >= 30]
trees.clear()
len(risky)
`,
  merged: `
len(trees), len(functions), all(f in functions for f in risky)
`,
};
