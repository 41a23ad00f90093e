#!/usr/bin/env bash
# Inside a batch job: runs COMMAND, passes Slurm's warning on to it, and requeues the job when the time
# limit stopped it, at most WHYREC_LIVES (20) times.
# usage: launch/slurm/attend.sh COMMAND [ARGUMENT...]
set -uo pipefail
warned=no child='' passed_on=yes
pass_on() { if [[ -z $child ]]; then passed_on=no; else kill -USR1 "$child"; fi; }
trap 'warned=yes; pass_on' USR1  # --signal=B:USR1@...: time is running out
trap pass_on TERM                # scancel or preemption: save, and stay away
"$@" &
child=$!
[[ $passed_on = yes ]] || pass_on  # a signal that came before the number was known
while :; do
  wait "$child"
  rc=$?
  kill -0 "$child" 2>/dev/null || break
done
if [[ $rc -gt 128 ]]; then  # perhaps of our own signal
  wait "$child" 2>/dev/null
  again=$?
  [[ $again = 127 ]] || rc=$again
fi
life=$((${SLURM_RESTART_COUNT:-0} + 1))
if [[ $rc = 75 && $warned = yes ]]; then
  if [[ $life -lt ${WHYREC_LIVES:-20} ]]; then
    echo "attend.sh: stopped by the time limit in life $life; the job is queued again" >&2
    trap '' TERM USR1  # an end of our own would count as the job's
    scontrol requeue "$SLURM_JOB_ID" && sleep 60  # Slurm ends this life
  fi
  echo "attend.sh: stopped in life $life, the last one; submit the same command to continue" >&2
fi
exit "$rc"
