/* Memory that a thread keeps from one call to the next, until it ends: taken and given back each time, megabytes would
   tear holes into the memory that maps come from. */

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef struct { void *first; size_t bytes; } Room;

static pthread_key_t ROOM;
static pthread_once_t FIRST = PTHREAD_ONCE_INIT;

static void empty(Room *own) {
    if (own->bytes) munmap(own->first, own->bytes);
    *own = (Room){NULL, 0};
}

static void leave(void *own) { empty(own), free(own); }
static void name_room(void) { pthread_key_create(&ROOM, leave); }

/* As many bytes for the thread that asks, from a multiple of 64 on, until it asks again; NULL if there are none. */
static void *room(size_t bytes) {
    pthread_once(&FIRST, name_room);
    Room *own = pthread_getspecific(ROOM);
    if (!own && (own = calloc(1, sizeof *own))) pthread_setspecific(ROOM, own);
    if (!own || own->bytes >= bytes) return own ? own->first : NULL;
    empty(own);
    void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) return NULL;
    *own = (Room){found, bytes};
    return found;
}
