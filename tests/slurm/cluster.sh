# shellcheck shell=bash
# Sourced: a Slurm of four pretended nodes on this machine, from Debian's packages, in $slurm (a
# folder); needs root. Its own munge, its own ports; nothing outside the folder is touched.
nodes=4

start_slurm() {
  slurm=${slurm:?}
  local port=$((20000 + RANDOM % 20000)) i
  mkdir -p "$slurm"/{state,log,munge} && chmod 755 "$slurm" && chmod 700 "$slurm/munge"
  head -c 128 /dev/urandom >"$slurm/munge/key" && chmod 600 "$slurm/munge/key"
  munged --foreground --force --key-file="$slurm/munge/key" --socket="$slurm/munge.socket" \
    --pid-file="$slurm/munge/pid" --seed-file="$slurm/munge/seed" --log-file="$slurm/munge/log" 2>"$slurm/munge/said" &
  daemons=($!)
  cat >"$slurm/slurm.conf" <<CONF
ClusterName=whyrec
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.socket
CredType=cred/munge
SlurmctldPort=$port
SlurmctldPidFile=$slurm/log/slurmctld.pid
SlurmdPidFile=$slurm/log/slurmd-%n.pid
SlurmctldLogFile=$slurm/log/slurmctld.log
SlurmdLogFile=$slurm/log/slurmd-%n.log
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool-%n
TmpFS=$slurm/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=pmix
ReturnToService=2
KillWait=10
SchedulerParameters=sched_interval=2,batch_sched_delay=1
CONF
  echo "127.0.0.1 localhost $(hostname) $(seq -s ' ' -f 'n%g' $nodes)" >"$slurm/hosts"
  for i in $(seq $nodes); do
    mkdir -p "$slurm/tmp-n$i" "$slurm/spool-n$i"
    echo "NodeName=n$i NodeHostname=n$i NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=8" \
      >>"$slurm/slurm.conf"
  done
  echo "PartitionName=all Nodes=ALL Default=YES State=UP MaxTime=INFINITE" >>"$slurm/slurm.conf"
  export SLURM_CONF=$slurm/slurm.conf
  # Shared memory between "nodes" of one host does not work: Open MPI over the loopback instead.
  export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo
  sleep 1
  slurmctld -D >"$slurm/log/ctld.out" 2>&1 &
  daemons+=($!)
  for i in $(seq $nodes); do
    # A host name of its own, which all nodes can look up.
    unshare --uts --mount bash -c "hostname n$i && mount --bind '$slurm/hosts' /etc/hosts &&
      exec slurmd -D -N n$i" >"$slurm/log/n$i.out" 2>&1 &
    daemons+=($!)
  done
  for i in $(seq 60); do
    [[ $(sinfo -h -N -t idle -o %n 2>/dev/null | wc -l) != "$nodes" ]] || return 0
    sleep 0.5
  done
  tail -n 5 "$slurm"/log/*
  return 1
}

stop_slurm() {
  scancel -u root >/dev/null 2>&1
  sleep 2
  for pid in $(printf '%s\n' "${daemons[@]}" | tac); do kill "$pid" 2>/dev/null && wait "$pid"; done
}
