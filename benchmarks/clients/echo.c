/* The server that clients are measured against: it echoes, and costs next to nothing itself. One thread, epoll,
 * loopback only; no TLS, no compression, no fragments, and it trusts its clients.
 *
 * Build:  gcc -O2 -o echo echo.c -lcrypto      (Debian: apt-get install gcc libssl-dev)
 * Use:    echo
 *
 * Prints its port, and serves until it is ended.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, READ_SIZE = 256 * 1024, CLOSE = 8, PING = 9, PONG = 10 };

typedef struct {
    uint8_t *bytes;
    size_t begin, end, capacity;
} buffer;

typedef struct {
    int fd;
    bool open, watches_output, closing;
    buffer input, output;
} connection;

static int poller;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint8_t *reserve(buffer *b, size_t size)
{
    if (b->begin == b->end) b->begin = b->end = 0;
    if (b->end + size > b->capacity && b->begin) {
        memmove(b->bytes, b->bytes + b->begin, b->end - b->begin);
        b->end -= b->begin;
        b->begin = 0;
    }
    if (b->end + size > b->capacity) {
        b->capacity = (b->end + size) * 2;
        if (!(b->bytes = realloc(b->bytes, b->capacity))) fail("realloc");
    }
    return b->bytes + b->end;
}

static void drop(connection *c)
{
    close(c->fd);
    free(c->input.bytes);
    free(c->output.bytes);
    free(c);
}

static void unmask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t key[4])
{
    uint64_t word, wide;
    size_t i = 0;
    memcpy(&wide, key, 4);
    memcpy((uint8_t *)&wide + 4, key, 4);
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < size; i++) to[i] = from[i] ^ key[i & 3];
}

/* The next whole frame, answered; false if there is none yet. */
static bool answer_frame(connection *c)
{
    const uint8_t *in = c->input.bytes + c->input.begin;
    size_t available = c->input.end - c->input.begin, head = 2, size;
    if (available < 2) return false;
    size = in[1] & 127;
    if (size == 126) head = 4;
    if (size == 127) head = 10;
    if (available < head + 4) return false;
    if (head > 2) {
        size = 0;
        for (size_t i = 2; i < head; i++) size = size << 8 | in[i];
    }
    if (available < head + 4 + size) return false;
    uint8_t opcode = in[0] & 15, *out = reserve(&c->output, head + size);
    if (opcode != PONG) {
        memcpy(out, in, head);
        if (opcode == PING) out[0] = 0x80 | PONG;
        out[1] &= 127;
        unmask(out + head, in + head + 4, size, in + head);
        c->output.end += head + size;
    }
    if (opcode == CLOSE) c->closing = true;
    c->input.begin += head + 4 + size;
    return !c->closing;
}

static bool answer_handshake(connection *c)
{
    char text[8192], joined[128], accept[64];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_size;
    size_t size = c->input.end - c->input.begin;
    if (size >= sizeof text) return false;
    memcpy(text, c->input.bytes + c->input.begin, size);
    text[size] = 0;
    char *end = strstr(text, "\r\n\r\n"), *key = strcasestr(text, "\r\nSec-WebSocket-Key:");
    if (!end || !key) return false;
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    EVP_Digest(joined, strlen(joined), digest, &digest_size, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_size);
    char *out = (char *)reserve(&c->output, 256);
    c->output.end += (size_t)sprintf(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    c->input.begin += (size_t)(end + 4 - text);
    return c->open = true;
}

static bool flush(connection *c)
{
    buffer *b = &c->output;
    while (b->begin < b->end) {
        ssize_t sent = send(c->fd, b->bytes + b->begin, b->end - b->begin, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return false;
        if (sent < 0) break;
        b->begin += (size_t)sent;
    }
    bool wants = b->begin < b->end;
    if (wants != c->watches_output) {
        struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c};
        if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) fail("epoll_ctl");
        c->watches_output = wants;
    }
    return wants || !c->closing;
}

static bool serve(connection *c, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        uint8_t *room = reserve(&c->input, READ_SIZE);
        ssize_t got = recv(c->fd, room, READ_SIZE, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
        if (got > 0) c->input.end += (size_t)got;
        if (c->open || answer_handshake(c))
            while (answer_frame(c)) {}
    }
    return flush(c);
}

static void take_client(int listener)
{
    connection *c = calloc(1, sizeof *c);
    int one = 1;
    if (!c || (c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0) fail("accept4");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct epoll_event events[MAX_EVENTS], watch = {.events = EPOLLIN};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &watch);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poller, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            connection *c = events[i].data.ptr;
            if (!c) take_client(listener);
            else if (!serve(c, events[i].events)) drop(c);
        }
    }
}
