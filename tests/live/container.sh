#!/bin/sh
# Runs the image as the DaemonSet does, without a container engine: container.sh ROOT DATA CONFIG CGROUP ARGUMENT...
# Its own mounts and cgroup namespace, the node's processes, an image that cannot be written, and only the
# capabilities of the chart. SYS_CHROOT is the one that getting into the image takes here.
set -eu
root=$1 data=$2 config=$3 cgroup=$4
shift 4
if [ -z "${INSIDE:-}" ]; then
  echo $$ > "$cgroup/cgroup.procs"
  INSIDE=1 exec unshare --mount --cgroup --propagation private "$0" "$root" "$data" "$config" "$cgroup" "$@"
fi
mount --bind "$root" "$root"
mount --bind "$config" "$root/etc/perisco"
mount --bind "$data" "$root/var/lib/perisco"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount -o remount,bind,ro "$root"
if touch "$root/written" 2>/dev/null; then echo "the image can be written" >&2; exit 1; fi
capabilities=+sys_chroot
for name in $CAPABILITIES; do
  capabilities=$capabilities,+$(echo "$name" | tr A-Z a-z)
done
# Only what the chart sets: nothing of this environment.
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin PERISCO_NODE_NAME=node-1 \
  setpriv --no-new-privs --inh-caps=-all --bounding-set="-all,$capabilities" \
  chroot "$root" /bin/perisco "$@"
