// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// The attesters; the appraisers are the same code, and one test says so. What a quorum's signatures must be is in Admit.
contract SignersTest is Base {
    bytes32 internal constant SIGNERS = "signers";
    bytes32 internal constant QUORUM = "threshold";

    address internal newcomer;
    address internal first;

    function setUp() public override {
        super.setUp();
        newcomer = _actor("newcomer");
        first = addressOf(attesterKeys[0]);
    }

    function testFirstSigners() public view {
        address[] memory attesters = members.attesters();
        assertEq(attesters.length, 3);
        for (uint256 i; i < 3; ++i) {
            assertTrue(members.isAttester(addressOf(attesterKeys[i])));
            assertTrue(ledger.isAppraiser(addressOf(appraiserKeys[i])));
            assertFalse(members.isAttester(addressOf(appraiserKeys[i])));
        }
    }

    /* PUTTING IN */

    function testAddSignerWaits(uint48 later) public {
        later = uint48(bound(later, 0, LOOSEN_DELAY - 1));
        uint48 readyAt = START + LOOSEN_DELAY;
        _threshold(3); // else three of them would be no majority of four

        vm.expectEmit(address(members));
        emit IQuorum.SignerScheduled(newcomer, readyAt);
        _add(newcomer);

        assertEq(members.signerReadyAt(newcomer), readyAt);
        assertFalse(members.isAttester(newcomer));
        vm.warp(START + later);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.SignerNotReady.selector, newcomer, readyAt, START + later));
        members.enactSigner(newcomer);

        vm.warp(readyAt);
        vm.expectEmit(address(members));
        emit IQuorum.SignerAdded(newcomer);
        vm.prank(stranger);
        members.enactSigner(newcomer);

        assertTrue(members.isAttester(newcomer));
        assertEq(members.attesters().length, 4);
        assertEq(members.signerReadyAt(newcomer), 0);
    }

    function testEnactSignerWhoWasNotScheduled(address account) public {
        vm.expectRevert(abi.encodeWithSelector(IQuorum.SignerNotReady.selector, account, 0, START));
        members.enactSigner(account);
    }

    /// A majority is always needed, also when the set grows.
    function testEnactSignerBeyondTheMajority() public {
        _add(newcomer);
        vm.warp(START + LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadThreshold.selector, 2, 4));
        members.enactSigner(newcomer);

        _threshold(3);
        members.enactSigner(newcomer);
    }

    function testAddSignerZero() public {
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSigner.selector, address(0)));
        _add(address(0));
    }

    function testAddSignerTwice() public {
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSigner.selector, first));
        _add(first);
    }

    /// Scheduling again starts the wait again, and puts nobody in twice.
    function testAddSignerWhoWaits() public {
        _threshold(3);
        _add(newcomer);
        vm.warp(START + LOOSEN_DELAY);
        _add(newcomer);
        vm.expectRevert(
            abi.encodeWithSelector(
                IQuorum.SignerNotReady.selector, newcomer, START + 2 * LOOSEN_DELAY, START + LOOSEN_DELAY
            )
        );
        members.enactSigner(newcomer);
    }

    function testNoMoreThanThirtyTwoSigners() public {
        uint256 time = START;
        for (uint256 signers = 3; signers < 32; ++signers) {
            if (2 * members.threshold() <= signers + 1) {
                vm.warp(time += PERIOD);
                _threshold(members.threshold() + 1);
            }
            address signer = address(uint160(0x1000 + signers));
            _add(signer);
            vm.warp(time += LOOSEN_DELAY);
            members.enactSigner(signer);
        }
        vm.warp(time += PERIOD);
        _threshold(17 + 1);
        _add(newcomer);
        vm.warp(time += LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.TooManySigners.selector, 33, 32));
        members.enactSigner(newcomer);
    }

    /* TAKING OUT */

    function testRemoveSignerWorksAtOnce() public {
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", UNTIL, DEADLINE);
        Signature[] memory quorum = attested(hashOf(a));

        vm.expectEmit(address(members));
        emit IQuorum.SignerRemoved(first);
        _remove(first);

        assertFalse(members.isAttester(first));
        assertEq(members.attesters().length, 2);
        // What it has signed before counts no more, either.
        vm.expectRevert(abi.encodeWithSelector(IQuorum.NotInQuorum.selector, first));
        members.admit(a, quorum);
    }

    /// Those who stay must be able to sign.
    function testRemoveSignerBelowTheThreshold() public {
        _remove(first);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadThreshold.selector, 2, 1));
        _remove(addressOf(attesterKeys[1]));
    }

    function testRemoveSignerWhoIsNone(address account) public {
        vm.assume(!members.isAttester(account));
        vm.expectRevert(abi.encodeWithSelector(IQuorum.NotInQuorum.selector, account));
        _remove(account);
    }

    function testRemoveSignerFromTheSchedule() public {
        _threshold(3);
        _add(newcomer);

        vm.expectEmit(address(members));
        emit IQuorum.SignerRemoved(newcomer);
        _remove(newcomer);

        vm.warp(START + LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.SignerNotReady.selector, newcomer, 0, START + LOOSEN_DELAY));
        members.enactSigner(newcomer);
        assertEq(members.attesters().length, 3);
    }

    /// A quorum that has lost a key gets another one, and never stands with less than a majority.
    function testReplaceASigner() public {
        _remove(first);
        _add(newcomer);
        vm.warp(START + LOOSEN_DELAY);
        members.enactSigner(newcomer);
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", UNTIL, DEADLINE);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        Signature[] memory quorum = new Signature[](2);
        uint256 other = attesterKeys[1];
        (quorum[0], quorum[1]) =
        (Signature(newcomer, sign(keyOf[newcomer], digest)), Signature(addressOf(other), sign(other, digest)));
        if (quorum[0].signer > quorum[1].signer) (quorum[0], quorum[1]) = (quorum[1], quorum[0]);

        members.admit(a, quorum);

        assertTrue(members.isActive(stranger));
    }

    /// The names that are put in and taken out are the contract's own.
    function testAppraisersAreChangedInTheLedger() public {
        address appraiser = addressOf(appraiserKeys[0]);
        vm.startPrank(system.timelock);
        ledger.removeSigner(appraiser);
        ledger.addSigner(newcomer);
        vm.stopPrank();
        vm.warp(START + LOOSEN_DELAY);
        ledger.enactSigner(newcomer);

        assertFalse(ledger.isAppraiser(appraiser));
        assertTrue(ledger.isAppraiser(newcomer));
        assertEq(ledger.appraisers().length, 3);
        assertFalse(members.isAttester(newcomer));
    }

    /* ABDICATION */

    function testAbdicateSigners() public {
        _remove(first);
        _add(newcomer);
        vm.expectEmit(address(members));
        emit ISettings.Abdicated(SIGNERS, 0);
        vm.prank(system.timelock);
        members.abdicate(SIGNERS, 0);

        assertTrue(members.isAbdicated(SIGNERS, 0));
        bytes memory gone = abi.encodeWithSelector(ISettings.SettingAbdicated.selector, SIGNERS, bytes32(0));
        vm.warp(START + LOOSEN_DELAY);
        vm.expectRevert(gone);
        members.enactSigner(newcomer);
        vm.expectRevert(gone);
        _add(stranger);
        vm.expectRevert(gone);
        _remove(newcomer);
        vm.prank(system.timelock);
        vm.expectRevert(gone);
        members.abdicate(SIGNERS, 0);
    }

    /// Of one contract, and of its members only: the threshold has an abdication of its own.
    function testAbdicateSignersOfOneContract() public {
        vm.prank(system.timelock);
        members.abdicate(SIGNERS, 0);

        assertFalse(ledger.isAbdicated(SIGNERS, 0));
        assertFalse(members.isAbdicated(QUORUM, 0));
        _threshold(3);
        vm.prank(system.timelock);
        ledger.addSigner(newcomer);
    }

    function _threshold(uint256 value) private {
        change(address(members), QUORUM, 0, value);
    }

    function _add(address signer) private {
        vm.prank(system.timelock);
        members.addSigner(signer);
    }

    function _remove(address signer) private {
        vm.prank(system.timelock);
        members.removeSigner(signer);
    }
}
