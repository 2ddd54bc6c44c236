/* Makes each fsync BENCH_FSYNC_MS milliseconds slower in a program that is started with LD_PRELOAD.
 *
 * The calling thread sleeps before the real call, as it would wait for a disk behind a network. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_longer(void)
{
    static long nanoseconds = -1;
    if (nanoseconds < 0) {
        const char *ms = getenv("BENCH_FSYNC_MS");
        nanoseconds = ms ? (long)(atof(ms) * 1e6) : 0;
    }
    struct timespec left = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

int fsync(int descriptor)
{
    wait_longer();
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    wait_longer();
    return (int)syscall(SYS_fdatasync, descriptor);
}
