/*
 * The throttle of a client: fewer notifications than commits, and everything told all the same.
 *
 *   enqueue -- token, none under way --> with a notification, which speaks for what is held back
 *      `----- none --------------------> without; answered --> held back -- spoken for, or a timer and a token --> `wake`
 *
 * Two enqueues of one process, each sent, executed, committed or rolled back, and answered or not (outcome unknown), in steps
 * between which time passes; a consumer that looks where it is told to, and whenever else it likes: its near looks begin
 * NEAR before the last one (hint.pml), so a commit that took longer needs a notification that names its instant.
 *
 * Promise:
 *   told   once no statement is under way and no timer is set, every message that was committed has been looked at
 *
 * A `wake` takes less than a tick on its way: it names an instant that much earlier. What it names after giving up is for the
 * poll interval, and not here.
 */
#include "promise.h"

#define MESSAGES 2
/* In ticks: where a look begins before the last; the age up to which a held message is spoken for by any notification. */
#define NEAR 2
#define SPOKEN_FOR 1
#define BEGINNING 3
#define END 9
#define NONE 30

#define least(a, b) (a < b -> a : b)

byte now = BEGINNING;
byte tokens;
bool isTelling;

/* throttle.ts, Bucket: since when messages are held back, those that anything speaks for and those that only `wake` does. */
byte heldSince = NONE;
byte lateSince = NONE;
bool hasTimer;
byte underWay;

mtype = { unsent, sent, ready, seen, gone };
mtype message[MESSAGES] = unsent;
byte readyAt[MESSAGES];
byte near = 1;

/* The consumer looks, and begins where it has been told to. */
inline consumerLooks(named) {
  from = least(near, (named > NEAR -> named - NEAR : 0));
  i = 0;
  do
  :: i < MESSAGES ->
       if
       :: message[i] == ready && readyAt[i] >= from -> message[i] = seen; readyAt[i] = 0
       :: else
       fi;
       i++
  :: else -> break
  od;
  near = now - NEAR;
  printf("the consumer looks, from %d\n", from);
  i = 0; from = 0
}

inline hold(at) {
#ifdef TAKES_LATE_FOR_HELD
  heldSince = least(heldSince, at);
#else
  if
  :: now - at > SPOKEN_FOR -> lateSince = least(lateSince, at)
  :: else -> heldSince = least(heldSince, at)
  fi;
#endif
#ifndef DROPS_THE_LAST_NOTIFICATION
  hasTimer = true;
#endif
  printf("held back since %d\n", at)
}

proctype Enqueue(byte m) {
  byte sentAt, since, from, i;
  bool isWaking;
  atomic { now < END - 1 && (m == 0 || message[m - 1] != unsent) -> sentAt = now; underWay++;
    isWaking = tokens > 0 && !isTelling;
    since = (isWaking -> heldSince : sentAt);
    if
    :: isWaking -> tokens = 0; isTelling = true; heldSince = NONE
#ifdef HOLDS_BACK_WHEN_SENT
    :: else -> hold(sentAt)
#else
    :: else
#endif
    fi;
    message[m] = sent;
    printf("enqueue %d is sent, with a notification: %d\n", m, isWaking) };
  atomic { readyAt[m] = now; printf("enqueue %d inserts for %d\n", m, now) };
  if
  :: atomic { message[m] = ready; printf("enqueue %d commits\n", m);
       if
       :: isWaking -> consumerLooks(readyAt[m])
       :: else
       fi }
  :: atomic { message[m] = gone; readyAt[m] = 0; printf("enqueue %d fails\n", m) }
  fi;
  atomic {
    if
    :: message[m] != gone -> printf("enqueue %d is answered\n", m);
#ifdef HOLDS_BACK_WHEN_SENT
         skip
#else
         if
         :: isWaking -> skip
         :: else -> hold(sentAt)
         fi
#endif
    :: printf("enqueue %d is not answered\n", m);
#ifndef LETS_A_FAILED_STATEMENT_SPEAK
         if
         :: since != NONE -> hold(since)
         :: else
         fi
#else
         skip
#endif
    fi;
    isTelling = (isWaking -> false : isTelling);
    underWay--; sentAt = 0; since = 0; isWaking = false }
}

/* The timer of the bucket. It is set again where there is no token; the statement `wake` may fail. */
proctype Timer() {
  byte since, from, i;
end:
  do
  :: atomic { hasTimer && tokens > 0 && !isTelling ->
       hasTimer = false;
       since = least(heldSince, lateSince);
       if
       :: since != NONE ->
            tokens = 0; heldSince = NONE; lateSince = NONE;
            if
            :: printf("wake names %d\n", since); consumerLooks(since)
            :: printf("wake fails\n");
#ifndef FORGETS_WHEN_WAKE_FAILS
               hold(since)
#else
               skip
#endif
            fi
       :: else
       fi;
       since = 0 }
  od
}

/* For other reasons: told by others, or the poll interval. */
proctype Consumer() {
  byte from, i;
end:
  do
  :: atomic { near < now - NEAR -> consumerLooks(NONE) }
  od
}

proctype Clock() {
end:
  do
  :: atomic { now < END -> now++; tokens = 1; printf("-- it is %d\n", now) }
  :: atomic { underWay == 0 && !hasTimer ->
       PROMISE(message[0] != ready && message[1] != ready, "told: a message that was committed is held back for ever");
       if
       :: now < END -> now++; tokens = 1; printf("-- it is %d\n", now)
       :: else -> break
       fi }
  od
}

init {
  atomic { run Clock(); run Timer(); run Consumer(); run Enqueue(0); run Enqueue(1) }
}
