"""Tests that no text of a stranger reaches a shell: nothing in the package starts one."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dualipo"
SHELLS = {
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("asyncio.create_subprocess_shell", "pty.spawn", "commands.getoutput"),
}
STARTERS = {f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output")}


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Yield every call of the package: the function's name as written, the call, and its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node, f"{path.name}:{node.lineno}"


def test_fault_52_no_process_is_started_through_a_shell() -> None:
    started = 0
    for name, call, place in calls():
        assert name not in SHELLS, place
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "shell" not in keywords, place
        if name in STARTERS:
            started += 1
            # A command is a list of words. One text would be split by somebody.
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr | ast.BinOp), place
    assert started >= 2
