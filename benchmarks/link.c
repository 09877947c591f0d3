/* Sockets, TLS and WebSocket below MQTT; what the functions promise stands in link.h. */
#define _GNU_SOURCE
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    /* Connections from one source address. Below the 28 232 ports that Linux gives out by default, with room for
       those of the run before, which stay in TIME_WAIT for a minute. */
    PER_SOURCE_ADDRESS = 5000,
    INPUT_BYTES = 256 * 1024, /* one read; also the largest packet we can cut */
};

static const ssize_t NOT_NOW = -2, GONE = -1; /* what reading and writing return besides a count */

_Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        die("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        die("setrlimit: %s", strerror(errno));
}

/* ---- TLS, or its absence ---- */

#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;

static void tls_prepare(const struct broker *broker)
{
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    bool loaded = SSL_CTX_load_verify_locations(context, broker->ca, NULL) == 1;
    if (loaded && broker->certificate)
        loaded = SSL_CTX_use_certificate_chain_file(context, broker->certificate) == 1
              && SSL_CTX_use_PrivateKey_file(context, broker->key, SSL_FILETYPE_PEM) == 1;
    if (!loaded)
        die("certificates: %s", ERR_error_string(ERR_get_error(), NULL));
}

static void *tls_start(int fd)
{
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    SSL_set_connect_state(tls); /* the first read or write does the handshake */
    return tls;
}

/* What a return value of OpenSSL's means here. */
static ssize_t tls_outcome(struct link *link, int returned)
{
    int reason = SSL_get_error(link->tls, returned);
    ERR_clear_error();
    if (reason == SSL_ERROR_NONE)
        return returned;
    return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? NOT_NOW : GONE;
}

static ssize_t tls_read(struct link *link, void *into, size_t len)
{
    return tls_outcome(link, SSL_read(link->tls, into, len));
}

static ssize_t tls_write(struct link *link, const void *from, size_t len)
{
    return tls_outcome(link, SSL_write(link->tls, from, len));
}

static bool tls_holds_input(struct link *link)
{
    return link->tls && SSL_pending(link->tls) > 0;
}

static bool tls_awaits_input(struct link *link)
{
    return link->tls && SSL_want_read((SSL *)link->tls);
}

static void tls_end(struct link *link)
{
    SSL_free(link->tls);
}
#else
static void tls_prepare(const struct broker *broker)
{
    die("%s given, but this program was built without -DTLS (apt install libssl-dev)", broker->ca);
}

static void *tls_start(int fd) { return (void)fd, NULL; }
static ssize_t tls_read(struct link *link, void *into, size_t len) { return (void)link, (void)into, (void)len, GONE; }
static ssize_t tls_write(struct link *link, const void *from, size_t len) { return (void)link, (void)from, (void)len, GONE; }
static bool tls_holds_input(struct link *link) { return (void)link, false; }
static bool tls_awaits_input(struct link *link) { return (void)link, false; }
static void tls_end(struct link *link) { (void)link; }
#endif

/* ---- reading and writing ---- */

static ssize_t outcome(ssize_t returned)
{
    if (returned >= 0)
        return returned;
    return errno == EAGAIN || errno == EINTR ? NOT_NOW : GONE;
}

static ssize_t link_read(struct link *link, void *into, size_t len)
{
    ssize_t got = link->tls ? tls_read(link, into, len) : outcome(recv(link->fd, into, len, 0));
    return got == 0 ? GONE : got; /* 0 is the broker's end of the stream */
}

static ssize_t link_write(struct link *link, const void *from, size_t len)
{
    return link->tls ? tls_write(link, from, len) : outcome(send(link->fd, from, len, MSG_NOSIGNAL));
}

static void ask_for_room(struct link *link, int epoll_fd, bool wanted)
{
    if (wanted == link->awaits_room)
        return;
    link->awaits_room = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = link};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, link->fd, &event);
}

/* What goes to the socket: the packets themselves, or the frames that they are put into. */
static struct bytes *outgoing(struct link *link)
{
    if (!link->websocket)
        return &link->out;
    if (link->websocket->open) {
        append_frames(&link->framed, link->websocket, &link->out, link->per_frame);
        link->out.len = 0;
    }
    return &link->framed;
}

bool link_flush(struct link *link, int epoll_fd)
{
    struct bytes *out = outgoing(link);
    while (out->taken < out->len) {
        ssize_t sent = link_write(link, out->at + out->taken, out->len - out->taken);
        if (sent == GONE)
            return false;
        if (sent == NOT_NOW)
            break;
        out->taken += sent;
    }
    bool all = out->taken == out->len;
    if (all)
        out->taken = out->len = 0;
    ask_for_room(link, epoll_fd, !all && !tls_awaits_input(link));
    return true;
}

bool link_is_clear(const struct link *link)
{
    return !link->out.len && !link->framed.len;
}

/* How many bytes of MQTT there are in what arrived. */
static size_t stripped(struct link *link, uint8_t *data, size_t len)
{
    if (!link->websocket)
        return len;
    size_t left = strip_frames(link->websocket, data, len);
    if (left == MALFORMED)
        die("the broker refused the WebSocket, or sent what is no frame of MQTT over WebSocket");
    return left;
}

/* Cut all whole packets from `input`, keep the rest for the next time. */
static void cut_all(struct link *link, const uint8_t *input, size_t len, int version, packet_receiver *receiver)
{
    struct packet packet;
    size_t at = 0, whole;
    while (at < len && (whole = cut_packet(input + at, len - at, version, &packet))) {
        if (whole == MALFORMED)
            die("the broker sent a malformed packet");
        receiver(link, &packet);
        at += whole;
    }
    link->partial.len = 0;
    if (at < len)
        append(&link->partial, input + at, len - at);
}

bool link_receive(struct link *link, int version, packet_receiver *receiver)
{
    static uint8_t input[INPUT_BYTES];
    do {
        size_t kept = link->partial.len;
        if (kept == sizeof input)
            die("the broker sent a packet of more than %zu bytes", sizeof input);
        ssize_t got = link_read(link, input + kept, sizeof input - kept);
        if (got < 0)
            return got == NOT_NOW;
        if (kept)
            memcpy(input, link->partial.at, kept);
        cut_all(link, input, kept + stripped(link, input + kept, got), version, receiver);
        if (link->websocket && link->websocket->closed)
            return false;
    } while (tls_holds_input(link)); /* epoll cannot see what OpenSSL has read already */
    return true;
}

/* ---- opening and closing ---- */

void links_prepare(const struct broker *broker)
{
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    raise_open_files();
    if (broker->ca)
        tls_prepare(broker);
}

/* Several source addresses, for one has only so many ports. */
static void choose_source(int fd, const struct sockaddr_in *target, int number)
{
    if (ntohl(target->sin_addr.s_addr) >> 24 != 127)
        return;
    uint32_t source = 0x7f000101u + number / PER_SOURCE_ADDRESS; /* 127.0.1.1 and on */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on); /* the port may then be shared */
    if (bind(fd, (struct sockaddr *)&address, sizeof address))
        die("bind: %s", strerror(errno));
}

static void start_websocket(struct link *link, const struct broker *broker, int number)
{
    link->websocket = calloc(1, sizeof *link->websocket);
    if (!link->websocket)
        die("out of memory");
    link->websocket->key = number;
    link->per_frame = broker->per_frame;
    append_request(&link->framed, broker->address);
}

bool link_open(struct link *link, const struct broker *broker, int epoll_fd, int number)
{
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(broker->port)};
    if (inet_pton(AF_INET, broker->address, &target.sin_addr) != 1)
        die("%s is no IPv4 address", broker->address);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket: %s (raise the limit of open files: ulimit -n)", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    choose_source(fd, &target, number);
    *link = (struct link){.fd = fd, .awaits_room = true};
    if (connect(fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS)
        return false;
    if (broker->ca)
        link->tls = tls_start(fd);
    if (broker->websocket)
        start_websocket(link, broker, number);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return true;
}

void link_close(struct link *link)
{
    if (link->tls)
        tls_end(link);
    close(link->fd);
    free(link->out.at);
    free(link->partial.at);
    free(link->framed.at);
    if (link->websocket)
        free(link->websocket->head.at);
    free(link->websocket);
    *link = (struct link){.fd = -1};
}
