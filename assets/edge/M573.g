; M573.g by lowbit: the constants tau and gamma of HDPA, in global.hdpa_tau and global.hdpa_gamma.
; M573 P0.05 Q0.3  sets tau (P, in seconds, 0.001 to 0.5) and gamma (Q, 0 to 1)
; M573             announces them, if they were ever set
; RepRapFirmware 3.4 or later: older firmware has an M573 of its own.

if exists(param.P) || exists(param.Q)
  ; Moves in the queue were planned with the old constants. Without parameters nothing stops the motion.
  M400
  if !exists(param.P) || !exists(param.Q)
    abort "Error: M573 takes both P (tau) and Q (gamma)"
  if param.P < 0.001 || param.P > 0.5
    abort "Error: M573: P (tau) must be 0.001 to 0.5 s, and is " ^ param.P
  if param.Q < 0 || param.Q > 1
    abort "Error: M573: Q (gamma) must be 0 to 1, and is " ^ param.Q
  if exists(global.hdpa_tau)
    set global.hdpa_tau = param.P
  else
    global hdpa_tau = param.P
  if exists(global.hdpa_gamma)
    set global.hdpa_gamma = param.Q
  else
    global hdpa_gamma = param.Q

if exists(global.hdpa_tau) && exists(global.hdpa_gamma)
  M118 S{"M573: tau " ^ global.hdpa_tau ^ " s, gamma " ^ global.hdpa_gamma}
