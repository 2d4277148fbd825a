// How a rank waits for others without taking the cores that somebody else needs: it polls, offers
// its core now and then, and once somebody took it sleeps between polls. Where nobody else wants
// the core this is polling.
#pragma once

namespace weft {

class Patience {
 public:
  void begin() { offer_at_s_ = -1; }  // of a wait
  void pause();                       // after each poll of a wait that found nothing

 private:
  double begin_s_ = 0;           // of this wait
  double offer_at_s_ = -1;       // when the core is offered next; < 0: not looked at the clock yet
  double crowded_until_s_ = -1;  // somebody wanted this core a moment ago
};

}  // namespace weft
