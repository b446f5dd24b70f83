#!/bin/sh
# The commands of plan.yaml, one after another in the order of the plan, with a commit after each: what Otto's
# result has to be equal to. Run it in a clone of its own, on the plan's base.
set -eu

step() { # step TITLE: run the command on standard input, and commit what it changed
  sh -e
  git add --all
  git -c commit.gpgSign=false commit --quiet --no-verify --allow-empty --message "$1"
}

step "Settings that isort and docformatter share" <<'RUN'
cat > setup.cfg <<'END'
[isort]
profile = black
force_single_line = true
order_by_type = false
src_paths = src
add_imports = from __future__ import annotations

[docformatter]
wrap-summaries = 88
wrap-descriptions = 0
END
RUN

step "LibCST knows its codemods and its formatter" <<'RUN'
cat > .libcst.codemod.yaml <<'END'
modules: [libcst.codemod.commands, autotyping]
formatter: [black, -q, "-"]
repo_root: .
END
RUN

step "One form of docstring in the core" <<'RUN'
docformatter --in-place src/flask/*.py || [ $? -eq 3 ]
RUN

step "One form of docstring in the JSON package" <<'RUN'
docformatter --in-place --recursive src/flask/json || [ $? -eq 3 ]
RUN

step "Syntax of Python 3.10 in the core without I/O" <<'RUN'
pyupgrade --py310-plus --exit-zero-even-if-changed src/flask/sansio/*.py
RUN

step "Messages of the core without I/O are formatted strings" <<'RUN'
flynt --quiet --transform-concats src/flask/sansio
RUN

step "One form of docstring in the core without I/O" <<'RUN'
docformatter --in-place --recursive src/flask/sansio || [ $? -eq 3 ]
RUN

step "Tests say what they return" <<'RUN'
python -m libcst.tool codemod --hide-progress \
  autotyping.AutotypeCommand --none-return --scalar-return tests
RUN

step "Tests postpone their annotations" <<'RUN'
isort --quiet tests
RUN

step "The tutorial says what it returns" <<'RUN'
python -m libcst.tool codemod --hide-progress \
  autotyping.AutotypeCommand --none-return --scalar-return examples/tutorial
RUN

step "The tutorial postpones its annotations" <<'RUN'
isort --quiet examples/tutorial
RUN

step "The JavaScript example postpones its annotations" <<'RUN'
isort --quiet examples/javascript
RUN

step "The Celery example postpones its annotations" <<'RUN'
isort --quiet examples/celery
RUN

step "No unused import in the documentation's settings" <<'RUN'
autoflake --in-place docs/conf.py
RUN

step "Black over everything" <<'RUN'
black --quiet src tests examples docs
RUN

git rev-parse 'HEAD^{tree}'
