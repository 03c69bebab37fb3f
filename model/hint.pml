/*
 * The low-water hint: what a look may skip, and why it skips nothing for long.
 *
 *   look      near: from a little before the end of the last look; wide: from further back, now and then; whole: from the
 *             beginning, once in a poll interval. The instant that a notification names begins it earlier.
 *   watch     one process, two looks side by side at most, answered in any order or never; the agenda says when the next begins
 *   producers insert for an instant (now, or later), commit when they like, and notify; -DLOST: or the notification is lost.
 *             -DTOGETHER: one transaction with both messages, which names the earlier one only
 *   rival     a session of another process locks a message, and commits its claim or rolls back
 *
 * Promises, for a message that is visible, not locked and past its instant:
 *   never early  nothing is claimed before its instant
 *   prompt       notifications arrive: it is claimed before the clock ticks; one tick later where a look is stalled
 *   bounded      -DLOST, and what a rival gave back: one poll interval later (and a tick where a look is stalled)
 *
 * The process is announced, and all know of it (waking.pml). Time is absolute and ends, after two whole looks at least.
 */
#include "promise.h"

/* In ticks: how far before the end of the last look others begin, and how often wide ones come; the poll interval; for how
 * long the next instant is remembered; after how long a look without an answer holds nobody up. */
#define NEAR 1
#define WIDE 2
#define WIDE_EVERY 2
#define POLL 4
#define WHOLE_EVERY 3
#define REMEMBERED 2
#define OVERDUE 1
/* Time begins where nothing is negative; the last message is inserted before LAST. */
#define BEGINNING 4
#define LAST 6
#define END 16
#define NEVER 30
#ifdef STALL
#define SLACK OVERDUE
#else
#define SLACK 0
#endif

#ifdef LOST
#define BOUND POLL
#else
#define BOUND 0
#endif

#define least(a, b) (a < b -> a : b)
#define less(a, b) (a > b -> a - b : 0)

byte now = BEGINNING;

mtype = { none, written, ready, locked, claimed };
mtype message[2] = none;
byte readyAt[2];
/* How long it could have been claimed, and how long it may. */
byte age[2];
byte bound[2];

/* A hint: when the last whole look was and the next wide one is due, the next known instant (0: none) and until when that
 * holds, and where near and wide looks begin. */
typedef Hint { bool isThere; byte wholeAt; byte wideAt; byte aheadAt; byte aheadUntil; byte near; byte wide };

/* hint.ts: the hint that is held, and the earliest instant named since its look began. */
Hint kept;
byte wokenFrom = NEVER;
/* agenda.ts: when an answer or a notification asks for a look, and when the poll, or the repetition of one, does. */
byte askedAt;
byte repeatAt;

/* The looks under way. Whether one that began later has answered, or the hint was dropped, whether none began later. */
mtype = { idle, begun, executed };
mtype look[2] = idle;
Hint hint[2];
byte toldFrom[2] = NEVER;
byte since[2] = NEVER;
byte nextAt[2];
byte beganAt[2];
bool isPassed[2];
bool isLast[2];
/* One look may fail, and one may take as long as it likes: whether that has not been yet, and which one it is. */
#ifdef STALL
bool mayStall = true;
#else
bool mayStall;
#endif
#ifdef FAIL
bool mayFail = true;
#else
bool mayFail;
#endif
bool isStalled[2];

#define isDue (least(askedAt, repeatAt) <= now)
#define isHeldUpBy(l) (look[l] != idle && beganAt[l] + OVERDUE > now)

inline copy(to, from) {
  to.isThere = from.isThere; to.wholeAt = from.wholeAt; to.wideAt = from.wideAt;
  to.aheadAt = from.aheadAt; to.aheadUntil = from.aheadUntil; to.near = from.near; to.wide = from.wide
}

inline drop(l) {
  kept.isThere = false; kept.wholeAt = 0; kept.wideAt = 0; kept.aheadAt = 0; kept.aheadUntil = 0; kept.near = 0; kept.wide = 0;
  wokenFrom = NEVER;
  isPassed[1 - l] = look[1 - l] != idle
}

/* A notification names an instant. */
inline woken(at) {
  wokenFrom = least(wokenFrom, at);
  since[0] = (look[0] == idle -> NEVER : least(since[0], at));
  since[1] = (look[1] == idle -> NEVER : least(since[1], at));
  askedAt = least(askedAt, at)
}

inline insert(p) {
  if
  :: readyAt[p] = now
  :: readyAt[p] = now + 2
  fi;
  message[p] = written;
  printf("producer %d inserts a message for %d\n", p, readyAt[p])
}

inline commit(p) {
  message[p] = ready;
  bound[p] = BOUND;
  printf("the message for %d is committed\n", readyAt[p])
}

inline notify(at) {
  if
  :: woken(at); printf("a notification names %d\n", at)
#ifdef LOST
  :: printf("the notification is lost\n")
#endif
  fi
}

#ifdef TOGETHER
proctype Producers() {
  byte first;
  atomic { now < LAST -> insert(0) };
  atomic { now < LAST -> insert(1) };
  atomic { commit(0); commit(1); first = least(readyAt[0], readyAt[1]); notify(first) }
}
#else
proctype Producer(byte p) {
  atomic { now < LAST -> insert(p) };
  atomic { commit(p); notify(readyAt[p]) }
}
#endif

proctype Rival(byte p) {
  atomic { message[p] == ready && readyAt[p] <= now -> message[p] = locked; age[p] = 0;
    printf("another process locks the message for %d\n", readyAt[p]) };
  if
  :: atomic { message[p] = claimed; printf("it claims it\n") }
  :: atomic { message[p] = ready; bound[p] = POLL; printf("it rolls back\n") }
  fi
}

#define canClaim(p) (message[p] == ready && readyAt[p] >= from && readyAt[p] <= now)
#define isVisible(p) (message[p] == ready || message[p] == locked)

/* The claim of `left` messages in the order of their instants. */
inline claimFirst() {
  p = (canClaim(0) && (!canClaim(1) || readyAt[0] <= readyAt[1]) -> 0 : 1);
  PROMISE(readyAt[p] <= now, "never early: a message is claimed before its instant");
  message[p] = claimed; age[p] = 0;
  seen = readyAt[p];
  left--;
  printf("look %d claims the message for %d\n", l, seen)
}

#ifdef OBEYS_THE_HINT_IN_WHOLE_LOOKS
#define beginsAtTheBeginning false
#else
#define beginsAtTheBeginning isWhole
#endif
#ifdef REMEMBERS_IN_SPITE_OF_A_NOTIFICATION
#define endsMemory(l) false
#else
#define endsMemory(l) (toldFrom[l] != NEVER)
#endif

/* 30_consume.sql, poll: it is one statement, and what it does to the hint depends on what it sees. */
inline execute(l, h) {
  isWhole = !h.isThere || now >= h.wholeAt + WHOLE_EVERY;
  isWide = isWhole || now >= h.wideAt;
  isSearching = isWhole || now >= h.aheadUntil || (h.aheadAt > 0 && now >= h.aheadAt) || endsMemory(l);
  from = (beginsAtTheBeginning -> 0 : (isWide -> h.wide : h.near));
#ifndef IS_NOT_LOWERED_BY_A_NOTIFICATION
  from = least(from, less(toldFrom[l], NEAR));
#endif
  isWide = isWide || h.near == 0;
  printf("look %d of %d begins at %d\n", l, now, from);
  if
  :: left = 1
  :: left = 2
  fi;
  do
  :: left > 0 && (canClaim(0) || canClaim(1)) -> claimFirst()
  :: else -> break
  od;
  next = NEVER; lockedAt = NEVER; ahead = NEVER;
  if
  :: left == 0 -> next = now
  :: else -> seen = now
  fi;
#ifdef BEGINS_AT_ITS_END_AFTER_A_FULL_CLAIM
  seen = now;
#endif
  p = 0;
  do
  :: p < 2 ->
       if
       :: isVisible(p) && isWide && readyAt[p] >= from && readyAt[p] <= seen -> lockedAt = least(lockedAt, readyAt[p])
       :: isVisible(p) && readyAt[p] > now -> ahead = least(ahead, readyAt[p])
       :: else
       fi;
       p++
  :: else -> break
  od;
  if
  :: lockedAt < NEVER && left > 0 -> next = least(next, now + POLL)
  :: else
  fi;
  if
  :: isWide -> h.wide = less(least(seen, lockedAt), WIDE)
  :: else -> h.wide = least(h.wide, less(seen, NEAR))
  fi;
  h.near = less(seen, NEAR);
  if
  :: isWhole -> h.wholeAt = now
  :: else
  fi;
  if
  :: isWide -> h.wideAt = now + WIDE_EVERY
  :: else
  fi;
  if
  :: left > 0 && isSearching -> h.aheadAt = (ahead <= now + POLL -> ahead : 0); h.aheadUntil = now + REMEMBERED; next = least(next, ahead)
  :: left == 0 && (isSearching || endsMemory(l)) -> h.aheadUntil = 0
  :: else
  fi;
  if
  :: left > 0 && h.isThere ->
#ifndef DOES_NOT_SAY_WHEN_A_WHOLE_LOOK_IS_DUE
       next = least(next, h.wholeAt + POLL);
#endif
       next = (h.aheadAt > now -> least(next, h.aheadAt) : next)
  :: else
  fi;
  h.isThere = true;
  nextAt[l] = next;
  left = 0; seen = 0; p = 0; ahead = 0; lockedAt = 0; from = 0; next = 0; isWhole = false; isWide = false; isSearching = false
}

inline rest(l) {
  look[l] = idle; isStalled[l] = false; nextAt[l] = 0; beganAt[l] = 0; toldFrom[l] = NEVER; since[l] = NEVER; isPassed[l] = false; isLast[l] = false;
  hint[l].isThere = false; hint[l].wholeAt = 0; hint[l].wideAt = 0; hint[l].aheadAt = 0; hint[l].aheadUntil = 0;
  hint[l].near = 0; hint[l].wide = 0
}

proctype Look(byte l) {
  byte from, left, seen, p, next, ahead, lockedAt;
  bool isWhole, isWide, isSearching;
  do
  :: atomic { look[l] == idle && (l == 0 || look[0] != idle) && isDue && !isHeldUpBy(1 - l) ->
       look[l] = begun; beganAt[l] = now; isPassed[l] = false; isLast[l] = true; isLast[1 - l] = false;
       copy(hint[l], kept); toldFrom[l] = wokenFrom; since[l] = NEVER;
#ifdef TELLS_ONE_LOOK_ONLY
       wokenFrom = NEVER;
#endif
       askedAt = NEVER; repeatAt = now + OVERDUE;
       printf("look %d begins, told of %d\n", l, toldFrom[l]) }
  :: atomic { look[l] == begun -> execute(l, hint[l]); look[l] = executed }
  :: atomic { look[l] == executed ->
       if
       :: !isPassed[l] ->
            copy(kept, hint[l]); wokenFrom = since[l];
            isPassed[1 - l] = look[1 - l] != idle && (isPassed[1 - l] || isLast[l])
       :: else
       fi;
       askedAt = least(askedAt, nextAt[l]);
       repeatAt = (isLast[l] -> now + POLL : repeatAt);
       printf("look %d is answered, next at %d\n", l, nextAt[l]);
       rest(l) }
  :: atomic { look[l] != idle && mayFail ->
       mayFail = false;
       drop(l);
       repeatAt = (isLast[l] -> now : repeatAt);
       printf("look %d fails\n", l);
       rest(l) }
  od
}

inline tickMessage(p) {
  if
  :: message[p] == ready && readyAt[p] <= now - 1 -> age[p]++;
       if
       :: bound[p] == 0 -> PROMISE(age[p] <= SLACK, "prompt: a ready message waits although a notification named it")
       :: else -> PROMISE(age[p] <= bound[p] + SLACK, "bounded: a ready message waits longer than the poll interval")
       fi
  :: else
  fi
}

#define restsOrStalls(l) (look[l] == idle || isStalled[l] || mayStall)

/* Ticks when no look is due or under way, except one that is stalled. */
proctype Clock() {
  do
  :: atomic { now < END && restsOrStalls(0) && restsOrStalls(1) &&
              !(look[0] != idle && look[1] != idle && mayStall) && (!isDue || isHeldUpBy(0) || isHeldUpBy(1)) ->
       if
       :: look[0] != idle -> mayStall = false; isStalled[0] = true
       :: look[1] != idle -> mayStall = false; isStalled[1] = true
       :: else
       fi;
       now++;
       printf("-- it is %d\n", now);
       tickMessage(0); tickMessage(1) }
  od
}

init {
  atomic {
    run Clock();
    run Look(0); run Look(1);
#ifdef TOGETHER
    run Producers();
#else
    run Producer(0); run Producer(1);
#endif
#ifdef RIVAL
    run Rival(0);
#endif
    true
  }
}
