/* SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The least that an overlay root costs: the mounts, made by system calls, and the real
 * init. No parameters, no checks, no fallback. What the script is measured against.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void mount_on(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	must(mount(source, target, type, flags, data), target);
}

int main(int argc, char **argv)
{
	int one = 1, fd;
	FILE *status;

	(void)argc;
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount_on("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_on("dev", "/dev", "devtmpfs", 0, "mode=0755");
	mount_on("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mkdir("/media", 0755);
	mkdir("/media/rfs", 0755);
	mkdir("/newroot", 0755);
	mount_on("rfs", "/media/rfs", "tmpfs", 0, "mode=0755");
	mkdir("/media/rfs/ro", 0755);
	mkdir("/media/rfs/rw", 0755);

	must(fd = open("/dev/vda", O_RDONLY), "/dev/vda");
	must(ioctl(fd, BLKROSET, &one), "BLKROSET");
	close(fd);
	mount_on("/dev/vda", "/media/rfs/ro", BASE_TYPE, MS_RDONLY | MS_NOATIME | MS_NODIRATIME, NULL);
	mount_on("/dev/vdb", "/media/rfs/rw", LAYER_TYPE, MS_NOATIME, NULL);
	mkdir("/media/rfs/rw/upperdir", 0755);
	mkdir("/media/rfs/rw/work", 0755);
	mount_on("overlay", "/newroot", "overlay", 0,
		 "lowerdir=/media/rfs/ro,upperdir=/media/rfs/rw/upperdir,workdir=/media/rfs/rw/work");
	status = fopen("/media/rfs/status", "w");
	if (status) {
		fputs("layer=persistent\n", status);
		fclose(status);
	}
	mkdir("/newroot/media/rfs", 0755);
	mount_on("/proc", "/newroot/proc", NULL, MS_MOVE, NULL);
	mount_on("/sys", "/newroot/sys", NULL, MS_MOVE, NULL);
	mount_on("/dev", "/newroot/dev", NULL, MS_MOVE, NULL);
	mount_on("/media/rfs", "/newroot/media/rfs", NULL, MS_MOVE, NULL);
	must(chdir("/newroot"), "/newroot");
	mount_on(".", "/", NULL, MS_MOVE, NULL);
	must(chroot("."), "chroot");
	argv[0] = "/sbin/init";
	execv(argv[0], argv);
	perror(argv[0]);
	return 1;
}
