#!/bin/busybox sh
# First program of a machine: inserts the modules, mounts the root disk and hands over to its init.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /lib/modules/*.ko; do
  insmod "$module" || echo "katalyst-e2e: cannot insert $module"
done
# The kernel starts with one processor (maxcpus=1) and gets the others now that no device will be mapped any more: the emulator
# may abort when one processor maps a device while another touches one.
for online in /sys/devices/system/cpu/cpu*/online; do
  read -r already < "$online"
  [ "$already" = 1 ] || echo 1 > "$online" || echo "katalyst-e2e: cannot start ${online%/online}"
done
mount -t ext4 -o noatime /dev/vda /root || {
  echo "katalyst-e2e: no root file system on /dev/vda"
  poweroff -f
}
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root /sbin/init
