"""Is a head better than another, worse, or not told apart; and does that fail a team's run?"""
