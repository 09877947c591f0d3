/* Posts messages by HTTP/1.1; what the functions promise stands in post.h. */
#define _GNU_SOURCE
#include "post.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"

enum {
    ANSWER_BYTES = 8192, /* the longest answer, head and body: a message as a JSON object */
    EVENTS = 256,
    PATIENCE_MS = 5000, /* without an answer on any connection */
};

struct posted posted;

static struct connection {
    int fd;
    size_t len; /* of what has arrived of the answer */
    char answer[ANSWER_BYTES + 1];
} *connections;
static char *request;
static size_t request_bytes;
static int connection_count, epoll_fd, under_way;

static void make_request(const struct poster *poster)
{
    char *head;
    int len = asprintf(&head,
                       "POST %s?qos=%d%s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: text/plain\r\n"
                       "Content-Length: %d\r\n\r\n",
                       poster->path, poster->qos, poster->qos ? "" : "&cache=no", poster->address,
                       poster->port, poster->payload);
    if (len < 0 || !(request = malloc(len + poster->payload)))
        die("out of memory");
    memcpy(request, head, len);
    memset(request + len, 'x', poster->payload);
    request_bytes = len + poster->payload;
    free(head);
}

static void connect_one(struct connection *connection, const struct sockaddr_in *target)
{
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0 || connect(connection->fd, (const struct sockaddr *)target, sizeof *target))
        die("cannot connect to the gateway");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->fd, &event);
}

void post_prepare(const struct poster *poster)
{
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(poster->port)};
    if (inet_pton(AF_INET, poster->address, &target.sin_addr) != 1)
        die("%s is no IPv4 address", poster->address);
    make_request(poster);
    epoll_fd = epoll_create1(0);
    connections = calloc(poster->connections, sizeof *connections);
    if (!connections)
        die("out of memory");
    for (int i = 0; i < poster->connections; i++)
        connect_one(&connections[i], &target);
    connection_count = poster->connections;
}

/* A request fits into an empty socket buffer, so the kernel takes it in one piece. */
static void post_one(struct connection *connection)
{
    if (send(connection->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
        die("the gateway does not take a request");
    under_way++;
}

static void lose(struct connection *connection)
{
    posted.failed++;
    under_way--;
    close(connection->fd);
    connection->fd = -1;
}

/* Whether the answer is whole: its head, and as many bytes as that announces. */
static bool is_whole(struct connection *connection)
{
    connection->answer[connection->len] = 0;
    const char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end)
        return false;
    const char *length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (!length || length > end)
        die("the gateway's answer does not say how long it is");
    size_t body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    return connection->len >= (size_t)(end + 4 - connection->answer) + body;
}

/* Take what arrived. True: that was the end of an answer. */
static bool read_answer(struct connection *connection)
{
    ssize_t got = recv(connection->fd, connection->answer + connection->len, ANSWER_BYTES - connection->len, 0);
    if (got <= 0) {
        lose(connection);
        return false;
    }
    connection->len += got;
    if (!is_whole(connection))
        return false;
    strncmp(connection->answer, "HTTP/1.1 200", 12) ? posted.refused++ : posted.accepted++;
    connection->len = 0;
    under_way--;
    return true;
}

void post_for(double seconds)
{
    static struct epoll_event events[EVENTS];
    uint64_t end_ns = now_ns() + seconds * SECOND;
    for (int i = 0; i < connection_count; i++)
        post_one(&connections[i]);
    while (under_way) {
        int count = epoll_wait(epoll_fd, events, EVENTS, PATIENCE_MS);
        if (count <= 0)
            die("the gateway does not answer");
        bool go_on = now_ns() < end_ns;
        for (int i = 0; i < count; i++)
            if (read_answer(events[i].data.ptr) && go_on)
                post_one(events[i].data.ptr);
    }
}
