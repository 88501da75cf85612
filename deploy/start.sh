#!/bin/sh
# Runs the services that the arguments name; without arguments the one that the image was built for; else all of them.
set -eu
if [ "$#" -eq 0 ] && [ -n "${SERVICE:-}" ]; then
    set -- "$SERVICE"
fi
exec todoke serve "$@"
