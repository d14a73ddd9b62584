"""Environments: made, used again, removed, and what their processes see."""

import importlib.metadata
import os
import shlex
import sys

import pytest

from tlbench.pairing import environments
from tlbench.pairing.environments import Environment, environ_in, prepare


@pytest.fixture
def said():
    return []


@pytest.fixture
def environment(project, tmp_path):
    folder = tmp_path / "work" / "envs" / "base"
    return Environment(
        folder=folder,
        project=project.top,
        tree=project.top,
        environ=environ_in(folder, repository=tmp_path / "none", folder=tmp_path),
    )


@pytest.fixture
def programs(script, tmp_path, monkeypatch):
    """Put a folder of scripted programs first on PATH; return how to add one."""
    folder = tmp_path / "programs"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda name, code: script(name, code, folder)


def test_an_environment_is_made_once_and_installed_into_every_time(
    environment, created, install, said
):
    prepare(environment, install, said.append)
    prepare(environment, install, said.append)
    assert created == ["base"]
    assert said == [
        "creating an environment",
        f"installing ({install})",
        "the environment of before is used again",
        f"installing ({install})",
    ]


def change_command(environment, install):
    return f"{install} && {install}"


def change_project(environment, install):
    (environment.project / "pyproject.toml").write_text("[project]\nname = 'other'")
    return install


def add_requirements(environment, install):
    (environment.project / "requirements-dev.txt").write_text("x")
    return install


def lose_the_interpreter(environment, install):
    environment.python.unlink()
    return install


def break_the_interpreter(environment, install):
    environment.python.unlink()
    environment.python.write_text("#!/bin/false\n")
    environment.python.chmod(0o755)
    return install


def lose_the_lock(environment, install):
    environment.lock.unlink()
    return install


@pytest.mark.parametrize(
    "change",
    [
        change_command,
        change_project,
        add_requirements,
        lose_the_interpreter,
        break_the_interpreter,
        lose_the_lock,
    ],
)
def test_an_environment_for_something_else_is_made_again(
    environment, created, install, said, change
):
    prepare(environment, install, said.append)
    prepare(environment, change(environment, install), said.append)
    assert created == ["base", "base"]


def test_a_file_that_the_command_names_decides_too(environment, created, install, said):
    named = environment.project / "deps.in"
    named.write_text("1")
    command = f"{install} deps.in"
    prepare(environment, command, said.append)
    (environment.project / "pack" / "__init__.py").write_text("changed = True")
    prepare(environment, command, said.append)
    assert created == ["base"]
    named.write_text("2")
    prepare(environment, command, said.append)
    assert created == ["base", "base"]


def test_commands_run_one_after_the_other_in_the_project(environment, created, said):
    write = "from pathlib import Path; Path('out').open('a').write('{} ')"
    one, two = (shlex.join(["python", "-c", write.format(n)]) for n in (1, 2))
    prepare(environment, f"{one} && {two}", said.append)
    assert (environment.project / "out").read_text() == "1 2 "


def test_no_shell_reads_the_command(environment, created, said):
    code = "import sys; open('out', 'w').write(sys.argv[1])"
    prepare(environment, shlex.join(["python", "-c", code, "$HOME; *"]), said.append)
    assert (environment.project / "out").read_text() == "$HOME; *"


def failing(code, *lines):
    printing = "".join(f"print('line {n}'); " for n in lines)
    return shlex.join(["python", "-c", f"{printing}raise SystemExit({code})"])


def test_a_failed_command_is_shown_and_its_environment_removed(
    environment, created, install, said
):
    prepare(environment, install, said.append)
    with pytest.raises(ValueError, match=r"base does not install: `python") as info:
        prepare(environment, f"{failing(3, *range(20))} && {install}", said.append)
    assert "Received: exit code 3 in " in str(info.value)
    assert "--install" in str(info.value)
    shown = [f"line {n}" for n in range(5, 20)]
    assert str(info.value).splitlines()[1:] == shown
    assert not environment.folder.exists()
    assert not environment.lock.exists()


def test_an_interrupted_install_is_not_used_again(
    environment, created, install, said, monkeypatch
):
    prepare(environment, install, said.append)

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environments, "_install", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(environment, install, said.append)
    prepare(environment, install, said.append)
    assert created == ["base", "base"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", r"must be a command, or several with && .*install=''\. Pass"),
        ("pip install . &&", r"must be a command, or several with &&"),
        (
            "pip 'install",
            r"must be a command line\. .*install=\"pip 'install\" \(No cl",
        ),
    ],
)
def test_what_is_no_command_is_refused_before_anything_is_made(
    environment, created, said, command, message
):
    with pytest.raises(ValueError, match=message):
        prepare(environment, command, said.append)
    assert not created
    assert not said


def test_an_unknown_program_is_refused(environment, created, said):
    with pytest.raises(ValueError, match=r"with a program\. .*'nosuch' is not on PATH"):
        prepare(environment, "nosuch install", said.append)


def test_pytest_is_installed_where_the_project_does_not_bring_it(
    environment, created, said, programs, monkeypatch
):
    programs("uv", "import sys; open('args', 'w').write(' '.join(sys.argv[1:]))")
    monkeypatch.setattr(environments, "missing", lambda *_: ("pytest",))
    path = environ_in(
        environment.folder, repository=environment.tree, folder=environment.tree
    )
    environment.environ.update(path)
    prepare(environment, "python -c pass", said.append)
    wanted = f"pytest=={importlib.metadata.version('pytest')}"
    assert said[-1] == f"installing {wanted}, which the project does not bring"
    args = (environment.project / "args").read_text()
    assert args == f"pip install {wanted}"


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("pip install -e .", "pip install -e . --reinstall-package pack"),
        ("pip install -e.[x]", "pip install -e.[x] --reinstall-package pack"),
        ("pip install other", "pip install other"),
        ("pip check", "pip check"),
    ],
)
def test_pip_is_that_of_uv_which_must_build_the_project_again(
    environment, created, said, programs, command, args
):
    programs("uv", "import sys; open('args', 'w').write(' '.join(sys.argv[1:]))")
    environment.environ["PATH"] = os.environ["PATH"]
    prepare(environment, command, said.append)
    assert (environment.project / "args").read_text() == args


def test_without_uv_pip_is_that_of_the_environment(
    environment, created, said, script, monkeypatch
):
    create = environments.create

    def with_pip(folder):
        create(folder)
        script("pip", "open('args', 'w').write('pip')", folder / "bin")

    monkeypatch.setattr(environments, "create", with_pip)
    environment.environ["PATH"] = str(environment.folder / "bin")
    prepare(environment, "pip install -e .", said.append)
    assert (environment.project / "args").read_text() == "pip"


def test_an_environment_has_the_python_of_this_one(tmp_path, monkeypatch):
    monkeypatch.setattr(environments.shutil, "which", lambda _: None)
    calls = []

    def run(words, folder, environ):
        calls.append(words)
        return environments.subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(environments, "_run", run)
    environments.create(tmp_path / "env")
    monkeypatch.setattr(environments.shutil, "which", lambda _: "/bin/uv")
    environments.create(tmp_path / "env")
    assert calls[0] == [sys.executable, "-m", "venv", str(tmp_path / "env")]
    assert calls[1][:3] == ["/bin/uv", "venv", "--seed"]
    assert calls[1][-3:] == ["--python", sys.executable, str(tmp_path / "env")]


def test_an_environment_that_cannot_be_made_is_refused(tmp_path, programs):
    programs("uv", "print('no space'); raise SystemExit(2)")
    with pytest.raises(
        ValueError,
        match=r"must be made for each side\. .*2 from `.*uv venv.*\nno space",
    ):
        environments.create(tmp_path / "env")


def test_processes_see_their_environment_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin")
    for name in ("PYTHONHOME", "GIT_DIR", "UV_SYSTEM_PYTHON", "PIP_TARGET"):
        monkeypatch.setenv(name, "elsewhere")
    folder = tmp_path / "envs" / "base"
    environ = environ_in(folder, repository=tmp_path / "top", folder=tmp_path)
    assert environ["PATH"] == f"{folder / 'bin'}{os.pathsep}/usr/bin"
    assert environ["VIRTUAL_ENV"] == str(folder)
    assert not {"PYTHONHOME", "GIT_DIR", "UV_SYSTEM_PYTHON", "PIP_TARGET"} & {*environ}


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        (["{top}"], None),
        (["{top}/src", "/opt/lib", "{top}/../top/a"], ["/opt/lib"]),
        (["{top}/link"], ["{top}/link"]),  # it leads out
        (["{tmp}/inward"], None),
        (["{tmp}/top2"], ["{tmp}/top2"]),
        (["src", "../src"], ["src", "../src"]),
        (["../../lib"], ["{top}/sub/../../lib"]),
        (["", "/opt/lib", ""], ["/opt/lib"]),
    ],
)
def test_no_side_imports_the_code_of_the_working_tree(
    tmp_path, monkeypatch, entries, kept
):
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "link").symlink_to(tmp_path)
    (tmp_path / "inward").symlink_to(top)

    def joined(parts):
        return os.pathsep.join(parts).format(top=top, tmp=tmp_path)

    monkeypatch.setenv("PYTHONPATH", joined(entries))
    environ = environ_in(tmp_path / "env", repository=top, folder=top / "sub")
    assert environ.get("PYTHONPATH") == (kept and joined(kept))


def test_an_interpreter_that_does_not_run_is_refused(script):
    broken = script("python", "import sys; sys.exit('no module')")
    with pytest.raises(
        ValueError, match=r"must run\. Received: python='.*python', .* 1\..*\nno module"
    ):
        environments.missing(broken, {})
