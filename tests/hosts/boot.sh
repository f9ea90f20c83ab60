#!/bin/sh
# The first process of a box. It has name spaces of its own, and what it mounts is gone with it.
# A box sees the programs of this machine, its own /etc, /home and /tmp, and nothing else: neither the controller's home
# nor the repository. So a path of the controller's means nothing there.
# ROOT is an empty folder, ETC holds the files of /etc, DISK is its home, and SHOWN has lines of "source target".
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$ROOT"
cd "$ROOT"
mkdir -m 755 dev etc home proc run run/sshd sys usr var "home/$OWNER"
for part in /bin /sbin /lib /lib32 /lib64 /libx32; do
    if [ -L "$part" ]; then
        cp -P "$part" .
    elif [ -d "$part" ]; then
        mkdir ".$part"
        mount --rbind "$part" ".$part"
    fi
done
mount --rbind /usr usr
mount -o remount,bind,ro usr
mount --rbind /dev dev
mount -t tmpfs none dev/shm
mount --rbind /sys sys
mount -t proc proc proc
mount --bind "$ETC" etc
mount --bind "$DISK" "home/$OWNER"
mkdir -m 1777 tmp
mount -t tmpfs -o mode=1777,size=512m none tmp
echo "$SHOWN" | while read -r source target; do
    [ -n "$source" ] || continue
    mkdir -p ".$target"
    mount --bind "$source" ".$target"
    mount -o remount,bind,ro ".$target"
done
hostname "$NAME"
ip link set lo up
exec chroot "$ROOT" /usr/sbin/sshd -D -e
