/*
 * HTTP requests that post a message each, over connections that stay open: what scripts do with a gateway, by the
 * thousand. A connection has one request under way.
 */
#ifndef POST_H
#define POST_H

#include <stdint.h>

struct poster {
    const char *address; /* IPv4 */
    int port;
    int connections;
    const char *path; /* without a query */
    int qos;
    int payload; /* bytes */
};

struct posted {
    uint64_t accepted; /* answered with 200 */
    uint64_t refused;  /* answered with anything else */
    uint64_t failed;   /* connections that the gateway closed */
};
extern struct posted posted;

/* Connect them all; ends the program if one cannot. */
void post_prepare(const struct poster *poster);

/* Post over all of them for so long, then wait for the last answers. */
void post_for(double seconds);

#endif
