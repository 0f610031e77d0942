/* The clock of a function that a test starts, ahead of this machine's by the seconds in ECR_GUARD_CLOCK_AHEAD. It is preloaded (lambdas.py). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    const char *ahead = getenv("ECR_GUARD_CLOCK_AHEAD");
    long failed = syscall(SYS_clock_gettime, clock, now);

    if (!failed && clock == CLOCK_REALTIME && ahead)
        now->tv_sec += atol(ahead);
    return (int)failed;
}
