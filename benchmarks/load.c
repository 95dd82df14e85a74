/* A closed-loop WebSocket load generator: one thread, epoll, loopback only. It checks every byte that comes back.
 *
 * Build:  gcc -O2 -o load load.c -lssl -lcrypto -lz      (Debian: apt-get install gcc libssl-dev zlib1g-dev)
 * Use:    load --port PORT [--mode MODE] [--connections N] [--depth N] [--size BYTES] [--seconds S] [--warmup S]
 *              [--pid SERVER] [--rate MESSAGES_PER_SECOND] [--stuck] [--binary] [--deflate] [--trust CERTIFICATE]
 *
 * Modes:
 *   echo   Each connection keeps DEPTH messages of SIZE bytes in flight; each echo releases the next. With --rate, the
 *          connections take turns instead, so many messages a second in all, whatever their number.
 *   fan    Connection 0 keeps DEPTH messages in flight, and the server sends each to all connections. The next one is
 *          released when one has reached everybody. Counts deliveries; latency is until the last of them.
 *   ticks  Sends nothing; the server sends messages of SIZE bytes on its own.
 *   idle   Opens all connections, has one message echoed on each, and is silent for SECONDS.
 *   churn  Opens a connection, has one message echoed, closes it, and waits for the end of the stream; again and again.
 *   burst  Opens connections one after another, has DEPTH messages echoed on each, and resets it.
 *
 * --stuck measures an echo or a fan twice, for SECONDS each: alone, and beside one connection more, with small buffers,
 * which never reads, and in an echo sends as much as it can. Its own messages do not count; what does is what it costs
 * the others, and the server's memory. A message that is not answered 5 seconds after the end is no failure, but a
 * figure: stalled.
 *
 * --deflate offers permessage-deflate; if the server accepts it, messages (JSON then) travel compressed both ways.
 * --trust speaks TLS with a server whose certificate is in that file. --pid measures the CPU time of that process and
 * its children, in the very window in which messages are counted.
 *
 * Prints one line of JSON. Exit status: 0; 2 wrong use or no connection; 3 the server closed; 4 what came back is not
 * what was sent, or not WebSocket; 5 nothing came for 10 seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { WRONG_USE = 2, CLOSED = 3, WRONG_CONTENT = 4, STALLED = 5 };
enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum mode { ECHO, FAN, TICKS, IDLE, CHURN, BURST };
enum { MAX_HEAD = 8192, MAX_FRAME_HEAD = 14, MAX_EVENTS = 512, PATIENCE = 10 /* seconds */ };
enum { NARROW_SEGMENT = 536, NARROW_BUFFER = 4096, FLOOD_FRAMES = 64, MAX_FLOOD = 1 << 26 /* bytes */ };

static const char *const mode_names[] = {"echo", "fan", "ticks", "idle", "churn", "burst"};

static struct {
    enum mode mode;
    int port, connections, depth, pid, opcode;
    size_t size;
    double seconds, warmup, rate;
    bool deflate, stuck;
    const char *trust;
} settings = {ECHO, 0, 1, 1, 0, TEXT, 32, 2, 0.5, 0, false, false, NULL};

typedef struct {
    int fd;
    SSL *tls;                      /* NULL: plain TCP */
    uint32_t events;               /* what epoll watches */
    uint8_t *input;
    size_t input_size, input_capacity;
    size_t owed;                   /* frames still to be sent */
    size_t sent_of_first;          /* bytes of the first of them that have been sent */
    double *sent_at;               /* a ring: when each message in flight was released */
    int oldest, in_flight;
    bool in_message, compressed;   /* of the message that is arriving */
    size_t message_offset;         /* its bytes so far */
    uint64_t received;             /* whole messages */
    z_stream *inflater;
} connection;

static uint8_t *payload;           /* what every message contains */
static uint8_t *inflated;          /* room for that */
static uint8_t *frames;            /* DEPTH copies of its masked frame, so that one system call can send many */
static size_t frame_size;
static SSL_CTX *tls_context;
static uint64_t verified;          /* messages whose content was right */

static struct {                    /* what the server's answer to the first offer says */
    bool accepted, forgets;
    int client_bits;
} deflate_answer = {false, false, 15};

static double in_seconds(struct timespec t)
{
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return in_seconds(t);
}

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail(WRONG_USE, "out of memory");
    return memory;
}

/* ---- What the server uses ---- */

typedef struct {
    double cpu, moment;            /* seconds */
    long resident;                 /* bytes */
} usage;

static void add_usage(int pid, usage *u)
{
    char path[64];
    clockid_t clock;
    struct timespec t;
    long pages;
    if (!clock_getcpuclockid(pid, &clock) && !clock_gettime(clock, &t)) u->cpu += in_seconds(t);
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%*d %ld", &pages) == 1) u->resident += pages * sysconf(_SC_PAGESIZE);
        fclose(file);
    }
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    if ((file = fopen(path, "r"))) {
        int child;
        while (fscanf(file, "%d", &child) == 1) add_usage(child, u);
        fclose(file);
    }
}

static usage measure_usage(void)
{
    usage u = {0, 0, 0};
    if (settings.pid) add_usage(settings.pid, &u);
    u.moment = now();
    return u;
}

static double own_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return in_seconds(t);
}

/* ---- Latencies: 64 buckets for each power of two nanoseconds, so a percentile is exact to 1.6 % ---- */

enum { STEP_BITS = 6, BUCKETS = (64 - STEP_BITS + 1) << STEP_BITS };
static uint64_t latencies[BUCKETS], latency_count;

static void record_latency(double seconds)
{
    uint64_t value = seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
    int shift = value >> (STEP_BITS + 1) ? 63 - __builtin_clzll(value) - STEP_BITS : 0;
    latencies[((size_t)shift << STEP_BITS) + (value >> shift)]++;
    latency_count++;
}

static double percentile(double share) /* in microseconds */
{
    uint64_t wanted = (uint64_t)((double)latency_count * share), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += latencies[i]) > wanted) {
            size_t shift = i >> (STEP_BITS + 1) ? (i >> STEP_BITS) - 1 : 0;
            return (double)((i - (shift << STEP_BITS)) << shift) / 1e3;
        }
    return 0;
}

static void print_percentiles(const char *of)
{
    if (!latency_count) return;
    printf("\"%sp50_us\":%.2f,\"%sp99_us\":%.2f,\"%sp999_us\":%.2f,", of, percentile(.5), of, percentile(.99), of,
           percentile(.999));
}

static void forget_latencies(void)
{
    memset(latencies, 0, sizeof latencies);
    latency_count = 0;
}

/* ---- The message, and its frame ---- */

static void make_payload(void)
{
    payload = allocate(settings.size + 1, 1);
    inflated = allocate(settings.size + 1, 1);
    if (!settings.deflate) {
        for (size_t i = 0; i < settings.size; i++) payload[i] = (uint8_t)"abcdefghijklmnopqrstuvwxyz0123456789"[i % 36];
        return;
    }
    uint32_t x = 12345;            /* JSON that compresses as that of an API does */
    for (size_t n = 0; n < settings.size;) {
        x = x * 1103515245u + 12345u;
        char item[80];
        unsigned id = x >> 8, user = (x >> 16) % 1000;
        size_t k = (size_t)snprintf(item, sizeof item, "{\"id\":%u,\"name\":\"user%u\",\"ok\":true},", id, user);
        if (k > settings.size - n) k = settings.size - n;
        memcpy(payload + n, item, k);
        n += k;
    }
}

static uint8_t *deflate_payload(size_t *size)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    int bits = deflate_answer.client_bits < 9 ? 9 : deflate_answer.client_bits; /* zlib has no 8 */
    if (deflateInit2(&z, 6, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY)) fail(WRONG_USE, "zlib refuses %d bits", bits);
    size_t capacity = deflateBound(&z, settings.size) + 64;
    uint8_t *result = allocate(capacity, 1);
    z.next_in = payload;
    z.avail_in = (uInt)settings.size;
    z.next_out = result;
    z.avail_out = (uInt)capacity;
    deflate(&z, Z_SYNC_FLUSH);
    *size = capacity - z.avail_out - 4; /* without the empty block of the flush, RFC 7692 section 7.2.1 */
    deflateEnd(&z);
    return result;
}

static void make_frames(void)
{
    static const uint8_t key[4] = {0x12, 0xa4, 0x5b, 0xc7};
    size_t size = settings.size, head = 0;
    uint8_t *body = deflate_answer.accepted ? deflate_payload(&size) : payload;
    uint8_t *frame = allocate(size + MAX_FRAME_HEAD, 1);
    frame[head++] = (uint8_t)(0x80 | (deflate_answer.accepted ? 0x40 : 0) | settings.opcode);
    int length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    frame[head++] = (uint8_t)(0x80 | (length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127));
    while (length_bytes) frame[head++] = (uint8_t)(size >> (8 * --length_bytes));
    memcpy(frame + head, key, 4);
    head += 4;
    for (size_t i = 0; i < size; i++) frame[head + i] = body[i] ^ key[i & 3];
    frame_size = head + size;
    frames = allocate((size_t)settings.depth, frame_size);
    for (int i = 0; i < settings.depth; i++) memcpy(frames + (size_t)i * frame_size, frame, frame_size);
    free(frame);
    if (body != payload) free(body);
}

/* ---- Bytes in and out, with TLS or without ---- */

static ssize_t tls_result(connection *c, int result)
{
    if (result > 0) return result;
    int error = SSL_get_error(c->tls, result);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

static ssize_t receive_some(connection *c)
{
    uint8_t *room = c->input + c->input_size;
    size_t size = c->input_capacity - c->input_size;
    ssize_t n = c->tls ? tls_result(c, SSL_read(c->tls, room, (int)size)) : recv(c->fd, room, size, 0);
    if (n > 0) c->input_size += (size_t)n;
    return n;
}

static ssize_t send_some(connection *c, const uint8_t *data, size_t size)
{
    return c->tls ? tls_result(c, SSL_write(c->tls, data, (int)size)) : send(c->fd, data, size, MSG_NOSIGNAL);
}

/* While a connection is opened or closed, and in the modes that do one thing after another, sockets block. */

static void receive_blocking(connection *c)
{
    ssize_t n = receive_some(c);
    if (n == 0) fail(CLOSED, "the server ended the stream");
    if (n < 0 && errno == EAGAIN) fail(STALLED, "nothing arrived for %d seconds", PATIENCE);
    if (n < 0) fail(CLOSED, "receiving: %s", strerror(errno));
}

static void send_blocking(connection *c, const void *data, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send_some(c, (const uint8_t *)data + sent, size - sent);
        if (n < 0) fail(CLOSED, "sending: %s", strerror(errno));
        sent += (size_t)n;
    }
}

/* ---- Opening a connection ---- */

/* A narrow socket takes little, and makes the server's side of it take little, too: as far away, on a bad network. */
static int connect_socket(bool is_narrow)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)settings.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval patience = {PATIENCE, 0};
    int one = 1, segment = NARROW_SEGMENT, buffer = NARROW_BUFFER, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail(WRONG_USE, "socket: %s", strerror(errno));
    if (is_narrow) {
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    }
    for (int tries = 0; connect(fd, (struct sockaddr *)&address, sizeof address); tries++) {
        if (tries == 100) fail(WRONG_USE, "connecting to port %d: %s", settings.port, strerror(errno));
        usleep(50000);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

static void start_tls(connection *c)
{
    c->tls = SSL_new(tls_context);
    SSL_set_fd(c->tls, c->fd);
    if (SSL_connect(c->tls) == 1) return;
    ERR_print_errors_fp(stderr);
    fail(WRONG_USE, "the TLS handshake failed");
}

static void read_deflate_answer(const char *head)
{
    if (!settings.deflate || deflate_answer.accepted || !strcasestr(head, "permessage-deflate")) return;
    deflate_answer.accepted = true;
    deflate_answer.forgets = strcasestr(head, "server_no_context_takeover");
    const char *bits = strcasestr(head, "client_max_window_bits=");
    if (bits) deflate_answer.client_bits = atoi(bits + 23 + (bits[23] == '"'));
}

static void shake_hands(connection *c)
{
    char request[512];
    const char *offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    int size = snprintf(request, sizeof request,
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                        settings.port, settings.deflate ? offer : "");
    send_blocking(c, request, (size_t)size);
    uint8_t *end;
    while (!(end = memmem(c->input, c->input_size, "\r\n\r\n", 4))) {
        if (c->input_size == c->input_capacity) fail(WRONG_CONTENT, "the head of the answer is too long");
        receive_blocking(c);
    }
    *end = 0;
    char *head = (char *)c->input;
    if (strncmp(head, "HTTP/1.1 101", 12)) fail(WRONG_USE, "refused: %s", head);
    if (!strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) fail(WRONG_CONTENT, "wrong Sec-WebSocket-Accept: %s", head);
    read_deflate_answer(head);
    c->input_size -= (size_t)(end + 4 - c->input);
    memmove(c->input, end + 4, c->input_size); /* frames may follow at once */
    if (!frames) make_frames();
}

static void open_on(int fd, connection *c)
{
    memset(c, 0, sizeof *c);
    c->fd = fd;
    bool reads_much = settings.mode == ECHO || settings.mode == FAN || settings.mode == TICKS;
    c->input_capacity = MAX_HEAD + settings.size * (reads_much ? 2 : 1) + (reads_much ? 1 << 16 : 0);
    c->input = allocate(c->input_capacity, 1);
    c->sent_at = allocate((size_t)settings.depth, sizeof(double));
    if (settings.trust) start_tls(c);
    shake_hands(c);
}

static void open_connection(connection *c)
{
    open_on(connect_socket(false), c);
}

static void end_connection(connection *c)
{
    if (c->inflater) inflateEnd(c->inflater);
    if (c->tls) SSL_free(c->tls);
    close(c->fd);
    free(c->inflater);
    free(c->input);
    free(c->sent_at);
}

/* ---- Frames that arrive ---- */

static void check_content(connection *c, const uint8_t *data, size_t size)
{
    if (c->message_offset + size > settings.size || memcmp(payload + c->message_offset, data, size))
        fail(WRONG_CONTENT, "the content differs from what was sent");
    c->message_offset += size;
}

static void check_deflated(connection *c, const uint8_t *data, size_t size)
{
    if (!c->inflater) {
        c->inflater = allocate(1, sizeof(z_stream));
        inflateInit2(c->inflater, -15);
    }
    c->inflater->next_in = (uint8_t *)data;
    c->inflater->avail_in = (uInt)size;
    do {
        c->inflater->next_out = inflated;
        c->inflater->avail_out = (uInt)settings.size + 1;
        int result = inflate(c->inflater, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_BUF_ERROR) fail(WRONG_CONTENT, "zlib cannot inflate what came");
        check_content(c, inflated, settings.size + 1 - c->inflater->avail_out);
    } while (c->inflater->avail_in || !c->inflater->avail_out);
}

static void begin_message(connection *c, int opcode, bool compressed)
{
    if (c->in_message) {
        if (opcode != CONTINUATION) fail(WRONG_CONTENT, "a new message inside a fragmented one");
        return;
    }
    if (opcode != settings.opcode) fail(WRONG_CONTENT, "opcode %d instead of %d", opcode, settings.opcode);
    c->in_message = true;
    c->message_offset = 0;
    c->compressed = compressed;
}

static void end_message(connection *c)
{
    if (c->compressed) {
        check_deflated(c, (const uint8_t *)"\0\0\xff\xff", 4);
        if (deflate_answer.forgets) inflateReset(c->inflater);
    }
    if (c->message_offset != settings.size) fail(WRONG_CONTENT, "the message was cut short");
    c->in_message = false;
    c->received++;
    verified++;
}

/* Takes one frame. Returns its size, 0 if there is no whole one; says whether it ended a message. */
static size_t take_frame(connection *c, const uint8_t *data, size_t size, bool *ended)
{
    *ended = false;
    if (size < 2) return 0;
    uint64_t length = data[1] & 127;
    size_t head = length < 126 ? 2 : length == 126 ? 4 : 10;
    if (data[1] & 0x80) fail(WRONG_CONTENT, "a masked frame from a server");
    if (size < head) return 0;
    if (head > 2) length = 0;
    for (size_t i = 2; i < head; i++) length = length << 8 | data[i];
    if (size < head + length) return 0;
    int opcode = data[0] & 15;
    if (opcode == CLOSE) fail(CLOSED, "close frame %d", length >= 2 ? data[head] << 8 | data[head + 1] : 0);
    if (opcode == PING || opcode == PONG) return head + length;
    begin_message(c, opcode, data[0] & 0x40);
    if (c->compressed) check_deflated(c, data + head, length);
    else check_content(c, data + head, length);
    if ((*ended = data[0] & 0x80)) end_message(c);
    return head + length;
}

/* Takes what has arrived, at most MOST messages. Returns how many ended. */
static int take_messages(connection *c, int most)
{
    size_t taken = 0, size;
    int messages = 0;
    bool ended;
    while (messages < most && (size = take_frame(c, c->input + taken, c->input_size - taken, &ended))) {
        taken += size;
        messages += ended;
    }
    c->input_size -= taken;
    if (taken) memmove(c->input, c->input + taken, c->input_size);
    return messages;
}

/* ---- One thing after another: idle, churn, burst ---- */

static void echo_once(connection *c)
{
    send_blocking(c, frames, frame_size);
    while (!take_messages(c, 1)) receive_blocking(c);
}

/* The closing handshake; what comes last must be a close frame. */
static void close_cleanly(connection *c)
{
    static const uint8_t close_frame[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8};
    ssize_t n;
    send_blocking(c, close_frame, sizeof close_frame);
    while ((n = receive_some(c)) > 0) {}
    if (n < 0 && errno == EAGAIN) fail(STALLED, "the server did not end the stream after the close");
    if (c->input_size < 2 || c->input[0] != 0x88) fail(WRONG_CONTENT, "the close was not answered");
}

static double microseconds(usage from, usage to, uint64_t count)
{
    return (to.cpu - from.cpu) * 1e6 / (double)(count ? count : 1);
}

static void run_churn(void)
{
    double start = now(), window = start + settings.warmup;
    usage before = measure_usage();
    uint64_t count = 0;
    bool counting = false;
    connection c;
    while (now() < window + settings.seconds) {
        if (!counting && now() >= window) {
            counting = true;
            count = 0;
            before = measure_usage();
        }
        double opened = now();
        open_connection(&c);
        echo_once(&c);
        close_cleanly(&c);
        end_connection(&c);
        if (counting) record_latency(now() - opened);
        count++;
    }
    usage after = measure_usage();
    printf("{\"mode\":\"churn\",\"cpu_us\":%.4f,\"per_second\":%.1f,", microseconds(before, after, count),
           (double)count / (after.moment - before.moment));
    print_percentiles("");
    printf("\"verified\":%lu}\n", (unsigned long)verified);
}

static void run_idle(void)
{
    uint64_t count = (uint64_t)settings.connections;
    connection *all = allocate(count, sizeof *all);
    usage before = measure_usage();
    for (uint64_t i = 0; i < count; i++) open_connection(all + i);
    usage opened = measure_usage();
    usleep((useconds_t)(settings.warmup * 1e6)); /* the server may still be busy with the last of them */
    usage open = measure_usage();
    for (uint64_t i = 0; i < count; i++) echo_once(all + i);
    usleep((useconds_t)(settings.warmup * 1e6));
    usage silent = measure_usage();
    usleep((useconds_t)(settings.seconds * 1e6));
    usage after = measure_usage();
    printf("{\"mode\":\"idle\",\"cpu_us\":%.4f,\"per_second\":%.1f,"
           "\"kib_per_connection\":%.3f,\"kib_per_connection_used\":%.3f,"
           "\"idle_cpu_percent\":%.4f,\"verified\":%lu}\n",
           microseconds(before, open, count), (double)count / (opened.moment - before.moment),
           (double)(open.resident - before.resident) / 1024 / (double)count,
           (double)(silent.resident - before.resident) / 1024 / (double)count,
           (after.cpu - silent.cpu) / (after.moment - silent.moment) * 100, (unsigned long)verified);
}

static void run_burst(void)
{
    struct linger reset = {1, 0};
    connection c;
    for (int i = 0; i < settings.connections; i++) {
        open_connection(&c);
        for (int k = 0; k < settings.depth; k++) echo_once(&c);
        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        end_connection(&c);
    }
    printf("{\"mode\":\"burst\",\"verified\":%lu}\n", (unsigned long)verified);
}

/* ---- All at once: echo, fan, ticks ---- */

static connection *connections;
static int epoll;
static uint64_t messages;          /* in the window, or before it in the warm-up */
static bool counting;
static double counted_since;       /* latencies of what was sent from then on */
static uint64_t turns;             /* of the connections, with --rate */
static double due;                 /* when the next one is */
static uint64_t *deliveries;       /* fan: of each message in flight, a ring */
static uint64_t delivered;         /* fan: messages that have reached everybody */
static bool ending;                /* nothing new is released */

static void release_message(connection *c)
{
    c->sent_at[(c->oldest + c->in_flight) % settings.depth] = now();
    c->in_flight++;
    c->owed++;
}

static void finish_oldest(connection *c, double moment)
{
    if (c->owed >= (size_t)c->in_flight) fail(WRONG_CONTENT, "more messages came back than were sent");
    if (counting && c->sent_at[c->oldest] >= counted_since) record_latency(moment - c->sent_at[c->oldest]);
    c->oldest = (c->oldest + 1) % settings.depth;
    c->in_flight--;
    if (settings.rate <= 0 && !ending) release_message(c);
}

static void count_delivery(uint64_t message, double moment)
{
    uint64_t depth = (uint64_t)settings.depth;
    if (message - delivered >= depth) fail(WRONG_CONTENT, "more messages came back than were sent");
    deliveries[message % depth]++;
    while (deliveries[delivered % depth] == (uint64_t)settings.connections) {
        deliveries[delivered % depth] = 0;
        delivered++;
        finish_oldest(connections, moment);
    }
}

static void flush_frames(connection *c)
{
    while (c->owed) {
        ssize_t n = send_some(c, frames + c->sent_of_first, c->owed * frame_size - c->sent_of_first);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fail(CLOSED, "sending: %s", strerror(errno));
        size_t sent = c->sent_of_first + (size_t)n;
        c->owed -= sent / frame_size;
        c->sent_of_first = sent % frame_size;
    }
    uint32_t events = EPOLLIN | (c->owed ? EPOLLOUT : 0);
    if (events == c->events) return;
    struct epoll_event event = {.events = events, .data.ptr = c};
    int change = c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(epoll, change, c->fd, &event)) fail(WRONG_USE, "epoll: %s", strerror(errno));
    c->events = events;
}

static bool receive_messages(connection *c)
{
    ssize_t n = receive_some(c);
    if (n == 0) fail(CLOSED, "the server ended the stream");
    if (n < 0 && errno != EAGAIN) fail(CLOSED, "receiving: %s", strerror(errno));
    if (n < 0) return false;
    uint64_t first = c->received;
    int ended = take_messages(c, 1 << 30);
    double moment = now();
    if (counting) messages += (uint64_t)ended;
    for (int i = 0; i < ended; i++) {
        if (settings.mode == ECHO) finish_oldest(c, moment);
        if (settings.mode == FAN) count_delivery(first + (uint64_t)i, moment);
    }
    return ended > 0;
}

/* Releases what is due at a fixed rate. Returns the milliseconds until the next. Turns that were missed, as somebody
 * else had our core, are left out: in a burst, the server would handle many with one wake-up. */
static int take_turns(void)
{
    double period = 1 / settings.rate, moment = now();
    if (due < moment - period) due = moment;
    for (; due <= moment; due += period) {
        connection *c = connections + turns++ % (uint64_t)settings.connections;
        if (c->in_flight == settings.depth) continue; /* it has not kept up */
        release_message(c);
        flush_frames(c);
    }
    double wait = (due - now()) * 1000;
    return wait > 1 ? (int)wait : 0;
}

/* ---- The one that does not read ---- */

static connection stuck;
static uint8_t *flood;             /* copies of the frame, which it sends in a circle */
static size_t flooded;             /* bytes of that */
static double stuck_since, stuck_until; /* when it was opened, and when the server gave it up */

static void watch_stuck(int change, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLRDHUP, .data.ptr = &stuck};
    if (epoll_ctl(epoll, change, stuck.fd, &event)) fail(WRONG_USE, "epoll: %s", strerror(errno));
}

static void open_stuck(void)
{
    open_on(connect_socket(true), &stuck);
    fcntl(stuck.fd, F_SETFL, O_NONBLOCK);
    flood = allocate(FLOOD_FRAMES, frame_size);
    for (int i = 0; i < FLOOD_FRAMES; i++) memcpy(flood + (size_t)i * frame_size, frames, frame_size);
    watch_stuck(EPOLL_CTL_ADD, settings.mode == ECHO ? EPOLLOUT : 0);
    stuck_since = now();
}

static void attend_stuck(uint32_t events)
{
    size_t size = FLOOD_FRAMES * frame_size, position = flooded % size;
    if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        stuck_until = now();
        epoll_ctl(epoll, EPOLL_CTL_DEL, stuck.fd, NULL);
    } else {
        ssize_t n = send(stuck.fd, flood + position, size - position, MSG_NOSIGNAL);
        if (n > 0) flooded += (size_t)n;
        if (flooded >= MAX_FLOOD) watch_stuck(EPOLL_CTL_MOD, 0);
    }
}

static bool wait_and_receive(int milliseconds)
{
    struct epoll_event events[MAX_EVENTS];
    bool progress = false;
    int count = epoll_wait(epoll, events, MAX_EVENTS, milliseconds);
    for (int i = 0; i < count; i++) {
        connection *c = events[i].data.ptr;
        if (c == &stuck) {
            attend_stuck(events[i].events);
            continue;
        }
        if (events[i].events & ~(uint32_t)EPOLLOUT) progress |= receive_messages(c);
        flush_frames(c);
        if (settings.mode == FAN) flush_frames(connections);
    }
    return progress;
}

static void open_all(void)
{
    epoll = epoll_create1(0);
    connections = allocate((size_t)settings.connections, sizeof *connections);
    deliveries = allocate((size_t)settings.depth, sizeof *deliveries);
    for (int i = 0; i < settings.connections; i++) open_connection(connections + i);
    for (int i = 0; i < settings.connections; i++) fcntl(connections[i].fd, F_SETFL, O_NONBLOCK);
    if (settings.mode == FAN) usleep(300000); /* the server may not have all of them on its list yet */
    int senders = settings.mode == FAN ? 1 : settings.mode == TICKS || settings.rate > 0 ? 0 : settings.connections;
    for (int i = 0; i < senders; i++)
        for (int k = 0; k < settings.depth; k++) release_message(connections + i);
    for (int i = 0; i < settings.connections; i++) flush_frames(connections + i);
}

static void run_all(void)
{
    long resident = measure_usage().resident;
    open_all();
    double start = now(), window = start + settings.warmup, last = start, own = 0;
    usage before = measure_usage();
    for (double moment = start; !counting || moment < window + settings.seconds; moment = now()) {
        if (!counting && moment >= window) {
            counting = true;
            before = measure_usage();
            own = own_cpu();
            window = before.moment;
        }
        if (moment - last > PATIENCE) fail(STALLED, "nothing arrived for %d seconds", PATIENCE);
        if (wait_and_receive(settings.rate > 0 ? take_turns() : 100)) last = moment;
    }
    usage after = measure_usage();
    double seconds = after.moment - before.moment;
    printf("{\"mode\":\"%s\",\"cpu_us\":%.4f,\"per_second\":%.1f,\"mb_per_second\":%.3f,", mode_names[settings.mode],
           microseconds(before, after, messages), (double)messages / seconds,
           (double)messages * (double)settings.size / seconds / 1e6);
    print_percentiles("");
    printf("\"server_busy\":%.4f,\"generator_busy\":%.4f,"
           "\"kib_per_connection\":%.3f,\"deflate\":%s,\"verified\":%lu}\n",
           (after.cpu - before.cpu) / seconds, (own_cpu() - own) / seconds,
           (double)(after.resident - resident) / 1024 / settings.connections,
           deflate_answer.accepted ? "true" : "false", (unsigned long)verified);
}

/* Goes on for so long, and counts from new. Returns the most memory that the server had meanwhile. */
static long run_for(double seconds)
{
    double start = now(), looked = 0;
    long most = 0;
    messages = 0;
    counted_since = start;
    forget_latencies();
    for (double moment = start; moment < start + seconds; moment = now()) {
        wait_and_receive(100);
        if (moment - looked < 0.05) continue;
        long resident = measure_usage().resident;
        if (resident > most) most = resident;
        looked = moment;
    }
    return most;
}

static bool is_answered(void)
{
    for (int i = 0; i < settings.connections; i++)
        if (connections[i].in_flight) return false;
    return true;
}

/* Waits for what is in flight. Returns whether something never came. */
static bool is_stalled(void)
{
    double until = now() + PATIENCE / 2;
    ending = true;
    while (!is_answered() && now() < until) wait_and_receive(100);
    return !is_answered();
}

static void run_beside_stuck(void)
{
    open_all();
    run_for(settings.warmup);
    counting = true;
    long resident = run_for(settings.seconds);
    if (!messages) fail(STALLED, "nothing arrived for %g seconds", settings.seconds);
    printf("{\"mode\":\"%s\",", mode_names[settings.mode]);
    print_percentiles("alone_");
    open_stuck();
    usage before = measure_usage();
    long grown = run_for(settings.seconds) - resident;
    usage after = measure_usage();
    printf("\"cpu_us\":%.4f,\"per_second\":%.1f,", microseconds(before, after, messages),
           (double)messages / (after.moment - before.moment));
    print_percentiles("");
    if (stuck_until) printf("\"stuck_seconds\":%.3f,", stuck_until - stuck_since);
    printf("\"grown_mib\":%.3f,\"stalled\":%d,\"flooded\":%zu,\"verified\":%lu}\n",
           grown > 0 ? (double)grown / (1 << 20) : 0, is_stalled(), flooded, (unsigned long)verified);
}

/* ---- The command line ---- */

static void trust_certificate(const char *path)
{
    tls_context = SSL_CTX_new(TLS_client_method());
    /* A buffer may have moved when a write is tried again: it is always the same bytes. */
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(tls_context, path, NULL) != 1) fail(WRONG_USE, "no certificate in %s", path);
}

static enum mode parse_mode(const char *name)
{
    for (int i = ECHO; i <= BURST; i++)
        if (!strcmp(name, mode_names[i])) return (enum mode)i;
    fail(WRONG_USE, "no mode is named %s", name);
}

static void parse_arguments(int argc, char **argv)
{
    static const struct option options[] = {
        {"mode", 1, 0, 'm'}, {"port", 1, 0, 'p'},    {"connections", 1, 0, 'c'}, {"depth", 1, 0, 'd'},
        {"size", 1, 0, 's'}, {"seconds", 1, 0, 't'}, {"warmup", 1, 0, 'w'},      {"pid", 1, 0, 'k'},
        {"rate", 1, 0, 'r'}, {"binary", 0, 0, 'b'},  {"deflate", 0, 0, 'z'},     {"trust", 1, 0, 'T'},
        {"stuck", 0, 0, 'S'}, {0, 0, 0, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
        case 'm': settings.mode = parse_mode(optarg); break;
        case 'p': settings.port = atoi(optarg); break;
        case 'c': settings.connections = atoi(optarg); break;
        case 'd': settings.depth = atoi(optarg); break;
        case 's': settings.size = strtoul(optarg, NULL, 10); break;
        case 't': settings.seconds = atof(optarg); break;
        case 'w': settings.warmup = atof(optarg); break;
        case 'k': settings.pid = atoi(optarg); break;
        case 'r': settings.rate = atof(optarg); break;
        case 'b': settings.opcode = BINARY; break;
        case 'z': settings.deflate = true; break;
        case 'S': settings.stuck = true; break;
        case 'T': settings.trust = optarg; break;
        default: exit(WRONG_USE);
        }
    bool positive = settings.port > 0 && settings.connections > 0 && settings.depth >= 0;
    if (!positive) fail(WRONG_USE, "--port is needed; counts are positive");
    if (settings.depth < 1 && settings.mode != BURST) fail(WRONG_USE, "only a burst has no messages");
    if (settings.stuck && (settings.mode > FAN || settings.deflate || settings.trust || settings.rate > 0))
        if (settings.mode != BURST) fail(WRONG_USE, "--stuck is for plain echoes and fans");
    if (settings.size > 1 << 28) fail(WRONG_USE, "messages of at most 256 MiB");
}

int main(int argc, char **argv)
{
    parse_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    make_payload();
    if (settings.trust) trust_certificate(settings.trust);
    switch (settings.mode) {
    case CHURN: run_churn(); break;
    case IDLE: run_idle(); break;
    case BURST: run_burst(); break;
    default: settings.stuck ? run_beside_stuck() : run_all();
    }
    return 0;
}
