/*
 * Waking: who is notified, and why nobody sleeps through a message.
 *
 *   consumer   look -- nothing, nobody announced --> announces, commits --> looks again at once: takes a number
 *                `- announced --> looks at each tick until all transactions with smaller numbers are over --> sleeps
 *   producer   takes a number, reads whether anybody sleeps, inserts, commits (notifying where somebody did), or rolls back
 *   clock      ticks whenever no look is due or under way: producers may take for ever, consumers do not
 *
 * Promises, with the messages that are visible and nobody has, while a consumer has a hand free:
 *   prompt     notifications arrive: claimed within a tick (the pause between two looks of one who is not asleep yet)
 *   bounded    -DLOST, any notification may be lost: claimed within a poll interval
 *
 * Time is relative, and a producer begins again when its message is handled: behaviours never end, states do.
 * A poll is the steps of 30_consume.sql that others can come between. Consumers look at everything: hint.pml has the hints.
 */
#include "promise.h"

#define CONSUMERS 2
#define PRODUCERS 2
/* One can claim without being full, the other is full with one message. -DNARROW: both are. */
#ifdef NARROW
#define HANDS(c) 1
#else
#define HANDS(c) (2 - c)
#endif
/* In ticks. An announcement lasts four poll intervals and is renewed while two are left. */
#define POLL 3
#define ANNOUNCED 12
#define RENEWED 6
#ifdef LOST
#define BOUND POLL
#else
#define BOUND 1
#endif

mtype = { none, ready, held };
mtype message[PRODUCERS] = none;
byte holder[PRODUCERS];
byte age[PRODUCERS];

/* queues.sleepers_until, as ticks that are left; the lock of its row; the transactions that have a number, as bits. */
byte sleepers;
bool rowLocked;
byte numbered;

/* Of each consumer, which is a process with one watch. `asked`: a notification waits; `wait`: ticks until the next look. */
bool asked[CONSUMERS];
byte wait[CONSUMERS];
bool looking[CONSUMERS];
#ifdef STALLED
bool stalled[CONSUMERS];
#endif
byte busy[CONSUMERS];
/* Its hint: the announcement as last seen (10), the stage (11: none, waiting, all over), and what it waits for. */
mtype = { unasked, waiting, settled };
mtype stage[CONSUMERS] = unasked;
byte seen[CONSUMERS];
byte older[CONSUMERS];

#define isDue(c) (busy[c] < HANDS(c) && (asked[c] || wait[c] == 0))

/* The transaction of a producer is over: nobody waits for it any more. */
inline over(p) {
  numbered = numbered & ~(1 << p);
  older[0] = older[0] & ~(1 << p);
  older[1] = older[1] & ~(1 << p)
}

inline notify() {
  asked[0] = true;
  asked[1] = true;
#ifdef LOST
  if
  :: asked[0] = false; printf("the notification of consumer 0 is lost\n")
  :: asked[1] = false; printf("the notification of consumer 1 is lost\n")
  :: asked[0] = false; asked[1] = false; printf("the notification is lost\n")
  :: true
  fi
#endif
}

proctype Producer(byte p) {
  bool knows;
  do
  :: atomic { message[p] == none && !(numbered & (1 << p)) ->
#ifdef READS_SLEEPERS_BEFORE_ITS_NUMBER
       knows = sleepers > 0;
       printf("producer %d reads: somebody sleeps = %d\n", p, knows) };
     atomic { numbered = numbered | (1 << p);
       printf("producer %d takes its number\n", p) };
#else
       numbered = numbered | (1 << p);
       printf("producer %d takes its number\n", p) };
     atomic { knows = sleepers > 0;
       printf("producer %d reads: somebody sleeps = %d\n", p, knows) };
#endif
     if
     :: atomic { true -> message[p] = ready; age[p] = 0; over(p);
          printf("producer %d commits its message\n", p);
          if
          :: knows -> notify()
          :: else
          fi }
     :: atomic { true -> over(p); knows = false;
          printf("producer %d rolls back\n", p) }
     fi;
     knows = false
  od
}

/* for update skip locked: one statement, one snapshot. */
inline claim() {
  atomic {
    p = 0;
    do
    :: p < PRODUCERS && busy[c] < HANDS(c) && message[p] == ready ->
         message[p] = held; holder[p] = c; busy[c]++; got++; age[p] = 0;
         printf("consumer %d claims the message of producer %d\n", c, p);
         p++
    :: p < PRODUCERS && !(busy[c] < HANDS(c) && message[p] == ready) -> p++
    :: p == PRODUCERS -> break
    od;
    isFull = busy[c] == HANDS(c) }
}

proctype Consumer(byte c) {
  byte p, got, until;
  bool isCurrent, isSettled, isFull, announces;
  do
  :: atomic { isDue(c) ->
       looking[c] = true; wait[c] = POLL; got = 0; announces = false;
#ifndef FORGETS_WHAT_COMES_DURING_A_LOOK
       asked[c] = false;
#endif
       isCurrent = seen[c] > 0;
#ifdef TRUSTS_AN_ANNOUNCEMENT_THAT_RAN_OUT
       isCurrent = true;
#endif
#ifdef STALLED
       stalled[c] = true;
       printf("consumer %d reads the clock\n", c) };
     atomic {
       stalled[c] = false;
#endif
       /* The row of the queue, as it is committed now. */
       until = sleepers;
       printf("consumer %d looks, announced for %d more ticks\n", c, until);
       isSettled = stage[c] == settled && isCurrent && until > 0;
       if
       :: !isSettled && (until == 0 || !isCurrent) -> stage[c] = unasked; older[c] = 0
       :: else
       fi };
     atomic {
       if
       :: !isSettled && until > 0 && stage[c] == unasked ->
#ifdef DOES_NOT_WAIT_FOR_OLDER_WRITERS
            older[c] = 0;
#else
            older[c] = numbered;
#endif
            stage[c] = waiting;
            printf("consumer %d takes a number and waits for transactions %d\n", c, older[c])
       :: else
       fi };
#ifdef FINDS_THEM_OVER_AFTER_ITS_LOOK
     claim();
#endif
     atomic {
       if
       :: !isSettled && stage[c] == waiting && older[c] == 0 && until > 0 -> isSettled = true; stage[c] = settled;
            printf("consumer %d finds them over\n", c)
       :: else
       fi;
       if
       :: until > 0 -> seen[c] = until
       :: else
       fi };
#ifndef FINDS_THEM_OVER_AFTER_ITS_LOOK
     claim();
#endif
     atomic {
       if
       :: isFull -> wait[c] = 0
       :: else
       fi;
       if
       :: !isSettled || (!isFull && until < RENEWED) ->
            if
            :: stage[c] == waiting -> wait[c] = (wait[c] < 1 -> wait[c] : 1)
#ifdef SLEEPS_AFTER_ITS_ANNOUNCEMENT
            :: stage[c] != waiting && !isSettled && got == 0 -> skip
            :: stage[c] != waiting && !isSettled && got > 0 -> wait[c] = 0
#else
#ifdef TAKES_A_CLAIM_FOR_AN_ANNOUNCEMENT
            :: stage[c] != waiting && !isSettled && got > 0 -> skip
            :: stage[c] != waiting && !isSettled && got == 0 -> wait[c] = 0
#else
            :: stage[c] != waiting && !isSettled -> wait[c] = 0
#endif
#endif
            :: else
            fi;
#ifndef NEVER_RENEWS
            announces = (got == 0 || (!isFull && until > 0)) && until < RENEWED;
#else
            announces = got == 0 && until == 0;
#endif
            if
            :: announces && rowLocked -> announces = false;
                 printf("consumer %d finds the row of the queue locked\n", c);
#ifdef TAKES_A_LOCKED_ROW_FOR_AN_ANNOUNCEMENT
                 wait[c] = POLL
#else
                 wait[c] = (wait[c] < 1 && stage[c] == settled -> wait[c] : 1)
#endif
            :: announces && !rowLocked -> rowLocked = true; seen[c] = ANNOUNCED;
#ifdef TAKES_ITS_NUMBER_BEFORE_ITS_ANNOUNCEMENT
                 stage[c] = waiting; older[c] = numbered;
#endif
                 printf("consumer %d announces that it sleeps\n", c)
            :: else
            fi
       :: else
       fi };
     atomic {
       if
       :: announces -> sleepers = ANNOUNCED; rowLocked = false;
            printf("consumer %d commits its announcement\n", c)
       :: else
       fi;
       looking[c] = false;
#ifdef FORGETS_WHAT_COMES_DURING_A_LOOK
       asked[c] = false;
#endif
#ifdef NEVER_POLLS
       wait[c] = (wait[c] == POLL -> 200 : wait[c]);
#endif
       printf("consumer %d is answered: it looks again in %d ticks\n", c, wait[c]);
       p = 0; got = 0; until = 0; isCurrent = false; isSettled = false; isFull = false; announces = false }
  od
}

/* Handlers return when they like; what they had is acked. */
proctype Handlers(byte p) {
  do
  :: atomic { message[p] == held -> busy[holder[p]]--; message[p] = none; holder[p] = 0;
       printf("the message of producer %d is handled\n", p) }
  od
}

#ifdef STALLED
#define canTick(c) (stalled[c] || (!looking[c] && !isDue(c)))
#else
#define canTick(c) (!looking[c] && !isDue(c))
#endif
#define countDown(n) n = (n > 0 -> n - 1 : 0)

inline tickMessage(m) {
  if
  :: message[m] == ready && !looking[0] && !looking[1] && (busy[0] < HANDS(0) || busy[1] < HANDS(1)) -> age[m]++;
#ifdef LOST
       PROMISE(age[m] <= BOUND, "bounded: a ready message waits longer than the poll interval")
#else
       PROMISE(age[m] <= BOUND, "prompt: a ready message waits although notifications arrive")
#endif
  :: else -> age[m] = 0
  fi
}

proctype Clock() {
  do
  :: atomic { canTick(0) && canTick(1) ->
       printf("-- tick\n");
       countDown(sleepers); countDown(seen[0]); countDown(seen[1]);
#ifdef NEVER_POLLS
       wait[0] = (wait[0] == 0 || wait[0] == 200 -> wait[0] : wait[0] - 1);
       wait[1] = (wait[1] == 0 || wait[1] == 200 -> wait[1] : wait[1] - 1);
#else
       countDown(wait[0]); countDown(wait[1]);
#endif
       tickMessage(0); tickMessage(1) }
  od
}

init {
  atomic {
    run Clock();
    run Consumer(0); run Consumer(1);
    run Producer(0); run Producer(1);
    run Handlers(0); run Handlers(1)
  }
}
