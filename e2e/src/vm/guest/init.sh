#!/bin/busybox sh
# First program on a machine's root disk: mounts what a node has mounted, unpacks the machine's own files from the second
# disk (a tar archive) and runs either the node (containerd and kubelet) or the script of a bare machine.
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root
# Collecting garbage is dear where every instruction is emulated, and memory is at hand.
export GOGC=400

say() {
  read -r uptime _ < /proc/uptime
  echo "katalyst-e2e: [$uptime] $*"
}

# The device file of the virtio-serial port named $1, or /dev/console when the machine has no such port.
port() {
  for directory in /sys/class/virtio-ports/*; do
    [ "$(cat "$directory/name" 2>/dev/null)" = "$1" ] && echo "/dev/${directory##*/}" && return
  done
  echo /dev/console
}

# Keeps "$@" running in the cgroup /system.slice/$1.service with its output in the port $1.
keep_running() {
  service=$1
  shift
  group=/sys/fs/cgroup/system.slice/$service.service
  mkdir -p "$group"
  output=$(port "$service")
  (
    echo 0 > "$group/cgroup.procs"
    while :; do
      "$@" > "$output" 2>&1
      say "$service ended with status $?, starting it again"
      sleep 1
    done
  ) &
}

mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount --make-rshared /
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
tar -x -f /dev/vdb -C /
. /etc/katalyst-e2e/machine.env

hostname "$name"
ip link set lo up
if [ -n "$address" ]; then
  ip address add "$address/24" dev eth0
  ip link set eth0 up
  ip route add default via "$gateway"
fi
echo 1 > /proc/sys/net/ipv4/ip_forward
if [ "${zram_mib:-0}" -gt 0 ]; then
  echo "${zram_mib}M" > /sys/block/zram0/disksize
  mkswap /dev/zram0 > /dev/null && swapon /dev/zram0
fi
say "$name is up, kernel $(uname -r)"

if [ -e /etc/katalyst-e2e/run.sh ]; then
  sh /etc/katalyst-e2e/run.sh > "$(port output)" 2>&1
  echo $? > "$(port status)"
  sync
  poweroff -f
fi

mkdir -p /sys/fs/cgroup/system.slice
# With an address of its own: else it takes its lowest port's, which changes as pods come (see cluster/network.rs).
ip link add cni0 address 0a:00:00:00:00:03 type bridge
keep_running containerd containerd
until [ -S /run/containerd/containerd.sock ]; do sleep 0.1; done
say "containerd answers"
keep_running kubelet kubelet \
  --config=/etc/kubernetes/kubelet.yaml --config-dir=/etc/kubernetes/kubelet.d \
  --kubeconfig=/etc/kubernetes/kubelet.conf --node-ip="$address" --hostname-override="$name"
say "kubelet is started"
keep_running image-import nc -ll -p 7070 -e /sbin/import-image
# The first program of a machine must not end; waiting also reaps orphans.
while :; do sleep 60; done
