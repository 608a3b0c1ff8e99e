/* Two functions that close in different ways, in known numbers. Arguments: port of a listener of the
 * caller's, connections closed plainly, connections reset, connects that fail, and "main", "thread" or "leave" (opens as many
 * as it is to close plainly, and exits). */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

static int port, plain, reset, failing;
volatile int calls;

static int connected(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) { perror("connect"); exit(1); }
    return fd;
}
APART void closes_plainly(int fd) { close(fd); calls++; }
APART void closes_with_reset(int fd) {
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    calls++;
}
APART void connects_in_vain(int fd) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) { fputs("connect() did not fail\n", stderr); exit(1); }
    calls++;
}
/* One place that calls them all: only their own frames tell them apart. */
APART void deeper(int depth, void (*function)(int), int fd) {
    if (depth > 0) deeper(depth - 1, function, fd); else function(fd);
    calls++;
}
static void *work(void *unused) {
    for (int i = 0; i < plain; i++) deeper(20, closes_plainly, connected());
    for (int i = 0; i < reset; i++) deeper(20, closes_with_reset, connected());
    /* A tuple that is taken: bound to the port of a connection to the same place. That port is bound first, so
     * that no TIME_WAIT of another connection has it, which would be in the way of the others. */
    struct sockaddr_in own = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    own.sin_addr.s_addr = to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof own;
    int one = 1, first = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(first, (struct sockaddr *)&own, sizeof own) || connect(first, (struct sockaddr *)&to, sizeof to)) {
        perror("bind first");
        exit(1);
    }
    getsockname(first, (struct sockaddr *)&own, &length);
    for (int i = 0; i < failing; i++) {
        int second = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(second, (struct sockaddr *)&own, sizeof own)) { perror("bind"); exit(1); }
        deeper(20, connects_in_vain, second);
        close(second);
    }
    close(first);
    return unused;
}
int main(int argc, char **argv) {
    if (argc != 6) return 2;
    port = atoi(argv[1]); plain = atoi(argv[2]); reset = atoi(argv[3]); failing = atoi(argv[4]);
    if (!strcmp(argv[5], "thread")) {
        pthread_t thread;
        if (pthread_create(&thread, 0, work, 0) || pthread_join(thread, 0)) return 1;
    } else if (!strcmp(argv[5], "leave")) {
        for (int i = 0; i < plain; i++) connected();
        return 0;
    } else work(0);
    puts("done");
    fflush(stdout);
    getchar();
    return 0;
}
