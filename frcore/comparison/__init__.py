"""Is a head better than another, worse, or statistically tied; and does that fail a team's run?"""
