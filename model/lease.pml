/*
 * Lease and fence: a message is one row, and several sessions want it.
 *
 *   ready -- poll: snapshot, lock with skip locked, look at the row again, commit --> leased -- time --> lapsed = ready again
 *     ^------------------------------- nack ------------------------------------------'  `-- ack --> gone
 *
 * Two consumers, two messages of one attempt (-DALONE: one message of three). Every transaction has steps, may stay open, and may roll back; an answer may be lost, so that
 * a consumer does not know what it claimed, or settles again what it has settled. Consumers keep the attempts that they
 * were given beyond the lease, and try to settle with them whenever they like.
 *
 * Promises:
 *   never early   a claim finds the instant of the row reached, and the lease of nobody
 *   one holder    no two consumers have the same attempt of a message
 *   fenced        who settles or extends has the lease, and an attempt is settled once
 *   not stranded  a row that is ready and not locked is claimed before the second tick
 *
 * A row that a transaction has written is locked until its end; others see what was committed. Time is relative.
 */
#include "promise.h"

/* In ticks: a lease, and the longest back-off. What was claimed MAX times is left alone, so that there is an end. */
#define LEASE 2
#define BACKOFF 1
#ifdef ALONE
#define MAX 3
#else
#define MAX 1
#endif

/* The rows as they are committed: ticks until ready_at, attempt, leased_by; and who has locked them, 2: nobody. */
#define NOBODY 2
bool exists[2];
byte left[2];
byte attempt[2];
bool leased[2];
byte locker[2] = NOBODY;

/* The attempts that were settled, as bits; how long the row could have been claimed; the attempts that consumers have. */
byte settled[2];
byte age[2];
typedef Attempts { byte ofMessage[2] };
Attempts has[2];
/* Consumers look once in a tick. */
bool isDue[2] = true;
bool looks[2];

#define isReady(m) (exists[m] && left[m] == 0 && attempt[m] < MAX)

inline lockCandidate(c, m, seen, mine) {
  atomic {
    if
#ifdef CLAIMS_WITHOUT_A_LOCK
    :: seen -> mine = true
#else
#ifdef DOES_NOT_LOOK_AGAIN_AFTER_THE_LOCK
    :: seen && locker[m] == NOBODY && exists[m] -> mine = true; locker[m] = c
#else
    :: seen && locker[m] == NOBODY && isReady(m) -> mine = true; locker[m] = c
#endif
#endif
    :: else -> mine = false
    fi
  }
}

inline claim(c, m) {
  PROMISE(!exists[m] || left[m] == 0, "never early: a message is claimed before its instant, or under the lease of another");
#ifdef DOES_NOT_COUNT_THE_ATTEMPT_OF_A_LAPSE
  attempt[m] = (leased[m] -> attempt[m] : attempt[m] + 1);
#else
  attempt[m] = attempt[m] + 1;
#endif
  leased[m] = true;
  left[m] = LEASE;
  age[m] = 0;
  printf("consumer %d commits its claim of message %d, attempt %d\n", c, m, attempt[m]);
  if
  :: has[c].ofMessage[m] = attempt[m]
  :: printf("and is not answered\n")
  fi;
  PROMISE(has[1 - c].ofMessage[m] != attempt[m], "one holder: two consumers have the same attempt")
}

proctype Consumer(byte c) {
  bool seen0, seen1, mine0, mine1;
  do
  :: atomic { isDue[c] -> isDue[c] = false; looks[c] = true;
#ifdef CLAIMS_A_TICK_EARLY
       seen0 = exists[0] && left[0] <= 1 && attempt[0] < MAX;
#else
       seen0 = isReady(0);
#endif
       seen1 = isReady(1);
       printf("consumer %d looks, and sees message 0: %d, message 1: %d\n", c, seen0, seen1) };
#ifdef CLAIMS_A_TICK_EARLY
     atomic { mine0 = seen0 && locker[0] == NOBODY; locker[0] = (mine0 -> c : locker[0]) };
#else
     lockCandidate(c, 0, seen0, mine0);
#endif
     lockCandidate(c, 1, seen1, mine1);
     atomic {
       if
       :: mine0 -> claim(c, 0)
       :: else
       fi;
       if
       :: mine1 -> claim(c, 1)
       :: else
       fi;
       locker[0] = (mine0 -> NOBODY : locker[0]);
       locker[1] = (mine1 -> NOBODY : locker[1]);
       looks[c] = false;
       seen0 = false; seen1 = false; mine0 = false; mine1 = false }
  od
}

mtype = { ack, nack, extend, ride };

#ifdef ACKS_WHATEVER_ATTEMPT
#define acksRight(m) true
#else
#define acksRight(m) (attempt[m] == mine)
#endif
#ifdef DOES_NOT_UNDO_THE_ACK_OF_ANOTHER
#define ridesRight(m) true
#else
#define ridesRight(m) (attempt[m] == mine)
#endif
#ifdef EXTENDS_WHATEVER_ATTEMPT
#define extendsRight(m) true
#else
#define extendsRight(m) (attempt[m] == mine)
#endif
#ifdef SETTLES_WHAT_IS_NOT_LEASED
#define isLeased(m) true
#else
#define isLeased(m) leased[m]
#endif
#define holds(verb) (exists[m] && isLeased(m) && (verb == extend -> extendsRight(m) : (verb == ack -> acksRight(m) : (verb == ride -> ridesRight(m) : attempt[m] == mine))))

inline commit(c, m) {
  PROMISE(attempt[m] == mine && leased[m], "fenced: who settles or extends does not have the lease");
  if
  :: verb == extend -> left[m] = (left[m] > LEASE -> left[m] : LEASE); age[m] = 0
  :: else ->
       PROMISE(!(settled[m] & (1 << mine)), "fenced: an attempt is settled twice");
       settled[m] = settled[m] | (1 << mine);
       if
       :: verb == nack ->
            if
            :: left[m] = 0
            :: left[m] = BACKOFF
            fi;
            leased[m] = false;
            age[m] = 0
       :: else -> exists[m] = false; leased[m] = false; left[m] = 0; age[m] = 0
       fi
  fi;
  printf("consumer %d commits\n", c);
  if
  :: verb != extend -> has[c].ofMessage[m] = (has[c].ofMessage[m] == mine -> 0 : has[c].ofMessage[m])
  :: printf("and is not answered\n")
  fi
}

/* What consumer c does with message m, in transactions of its own: it waits for the lock of the row, or, in the statement of
 * a look, takes it only where it can (_ack_at_once: deletes what is leased, and undoes it where the attempt is another). */
proctype Settler(byte c; byte m) {
  byte mine;
  mtype verb;
  do
  :: atomic { has[c].ofMessage[m] > 0 -> mine = has[c].ofMessage[m];
       if
       :: verb = ack
       :: verb = nack
       :: verb = extend
       :: verb = ride
       fi };
     if
     :: atomic { locker[m] == NOBODY && holds(verb) -> locker[m] = c; age[m] = 0;
          printf("consumer %d settles message %d with attempt %d: %e\n", c, m, mine, verb) };
        if
        :: atomic { true -> commit(c, m) }
        :: atomic { true -> printf("consumer %d rolls back\n", c) }
        fi;
        locker[m] = NOBODY
     :: atomic { locker[m] == NOBODY && !holds(verb) ->
          printf("consumer %d has lost attempt %d of message %d\n", c, mine, m);
          has[c].ofMessage[m] = (has[c].ofMessage[m] == mine -> 0 : has[c].ofMessage[m]) }
     :: atomic { locker[m] != NOBODY -> printf("consumer %d gives up waiting for message %d\n", c, m) }
     fi;
     mine = 0; verb = 0
  od
}

inline tickMessage(m) {
  if
  :: isReady(m) && locker[m] == NOBODY -> age[m]++;
       PROMISE(age[m] < 2, "not stranded: a ready message is not claimed")
  :: else -> age[m] = 0
  fi;
  left[m] = (left[m] > 0 -> left[m] - 1 : left[m])
}

/* Ticks when everybody has looked. */
proctype Clock() {
  do
  :: atomic { !isDue[0] && !isDue[1] && !looks[0] && !looks[1] ->
       printf("-- tick\n");
       tickMessage(0); tickMessage(1);
       isDue[0] = true; isDue[1] = true }
  od
}

init {
  atomic {
    exists[0] = true;
#ifndef ALONE
    exists[1] = true;
#endif
    run Clock();
    run Consumer(0); run Consumer(1);
    run Settler(0, 0); run Settler(0, 1); run Settler(1, 0); run Settler(1, 1)
  }
}
