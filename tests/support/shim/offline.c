/* Ends whoever asks for a socket: what runs with this in front of libc has no network. */
#include <stdlib.h>
#include <sys/socket.h>

#pragma GCC visibility push(default)

int socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    abort();
}
