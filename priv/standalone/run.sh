#!/bin/sh
# run.sh LOG COMMAND [ARGUMENT ...]
# Runs COMMAND with its output appended to LOG, and kills it when standard input ends: the program that
# holds the other end of the pipe cannot die without taking COMMAND with it, not even by kill -9.
# Standard input takes the lines "term" and "kill"; standard output says "started PID". The exit status is COMMAND's.
log=$1
shift
exec 3<&0
"$@" 3<&- </dev/null >>"$log" 2>&1 &
child=$!
echo "started $child"
exec >/dev/null 2>&1
(
  while read -r signal <&3; do
    case $signal in
      term) kill -TERM "$child" ;;
      kill) kill -KILL "$child" ;;
    esac
  done
  kill -KILL "$child"
) &
watcher=$!
wait "$child"
status=$?
kill -KILL "$watcher"
exit "$status"
