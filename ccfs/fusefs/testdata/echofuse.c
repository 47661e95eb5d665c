/*
 * The peer of the benchmarks: the least that a FUSE server can do, in C on the bare protocol, one thread, no library.
 * It serves one file `f` with the options that our own server uses for a state file: the name is cached, the
 * attributes are not, direct I/O, no FLUSH.
 *
 *	echofuse DIR [TEXT]	prints "ready", serves until it is killed
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int dev;
static const char *text = "state running\nsince 2026-01-01T00:00:00Z\npid 4711\nip 10.1.0.2\nrestarts 0\n";

static void answer(uint64_t unique, int err, const void *data, size_t len)
{
	struct fuse_out_header h = {sizeof h + len, -err, unique};
	struct iovec v[2] = {{&h, sizeof h}, {(void *)data, len}};
	writev(dev, v, len ? 2 : 1);
}

static struct fuse_attr attr(uint64_t node)
{
	struct fuse_attr a = {.ino = node, .nlink = 1, .blksize = 4096};
	a.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	a.size = node == FUSE_ROOT_ID ? 0 : strlen(text);
	return a;
}

static void init(struct fuse_in_header *in, struct fuse_init_in *i)
{
	struct fuse_init_out o = {
		.major = FUSE_KERNEL_VERSION, .minor = i->minor, .max_readahead = i->max_readahead,
		.flags = i->flags & (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS),
		.max_background = 64, .congestion_threshold = 48, .max_write = 131072, .time_gran = 1,
	};
	answer(in->unique, 0, &o, sizeof o);
}

static void lookup(struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out o = {.nodeid = 2, .generation = 1, .entry_valid = 3600, .attr = attr(2)};
	if (strcmp(name, "f"))
		answer(in->unique, ENOENT, 0, 0);
	else
		answer(in->unique, 0, &o, sizeof o);
}

static void readdir(struct fuse_in_header *in, struct fuse_read_in *r)
{
	struct {
		struct fuse_dirent d;
		char name[8];
	} e = {{.ino = 2, .off = 1, .namelen = 1, .type = S_IFREG >> 12}, "f"};
	answer(in->unique, 0, &e, r->offset ? 0 : sizeof e);
}

static void serve(struct fuse_in_header *in, void *arg)
{
	switch (in->opcode) {
	case FUSE_INIT:
		return init(in, arg);
	case FUSE_LOOKUP:
		return lookup(in, arg);
	case FUSE_GETATTR: {
		struct fuse_attr_out o = {.attr = attr(in->nodeid)};
		return answer(in->unique, 0, &o, sizeof o);
	}
	case FUSE_OPEN: {
		struct fuse_open_out o = {.fh = 1, .open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH};
		return answer(in->unique, 0, &o, sizeof o);
	}
	case FUSE_READ: {
		struct fuse_read_in *r = arg;
		size_t len = strlen(text);
		if (r->offset >= len)
			return answer(in->unique, 0, 0, 0);
		len -= r->offset;
		return answer(in->unique, 0, text + r->offset, len < r->size ? len : r->size);
	}
	case FUSE_OPENDIR: {
		struct fuse_open_out o = {.fh = 1};
		return answer(in->unique, 0, &o, sizeof o);
	}
	case FUSE_READDIR:
		return readdir(in, arg);
	case FUSE_STATFS: {
		struct fuse_statfs_out o = {.st = {.bsize = 4096, .namelen = 255}};
		return answer(in->unique, 0, &o, sizeof o);
	}
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_ACCESS:
		return answer(in->unique, 0, 0, 0);
	default:
		return answer(in->unique, ENOSYS, 0, 0);
	}
}

int main(int argc, char **argv)
{
	static char buf[1 << 18] __attribute__((aligned(8)));
	char opts[128];

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: echofuse DIR [TEXT]\n");
		return 2;
	}
	if (argc == 3)
		text = argv[2];
	dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		perror("/dev/fuse");
		return 1;
	}
	snprintf(opts, sizeof opts, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", dev);
	if (mount("echofuse", argv[1], "fuse.echofuse", MS_NOSUID | MS_NODEV, opts)) {
		perror(argv[1]);
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		ssize_t n = read(dev, buf, sizeof buf);
		if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (n < 0)
			return errno != ENODEV;
		struct fuse_in_header *in = (void *)buf;
		serve(in, in + 1);
	}
}
